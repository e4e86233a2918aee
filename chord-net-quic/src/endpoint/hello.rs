//! Who is at the other end, by its certificate and by its own first words.

use bytes::BytesMut;
use chord_core::id::Id;
use chord_core::wire::{self, Frame, Hello};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio_util::codec::Decoder;

use crate::api::POSITIONS_MAX;
use crate::clock;
use crate::endpoint::{Endpoint, Refused};
use crate::frames;
use crate::identity;
use crate::link::Passport;
use crate::peers::Introduced;

/// The certified id of the other end, and its certificates. The handshake has verified them.
pub(super) fn who(connection: &Connection) -> Result<(Id, Passport), Refused> {
    let chain = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(Refused::NoNode)?;
    let certified = identity::peer_identity(&chain)?;
    let id = certified.id().ok_or(Refused::NoNode)?;
    Ok((
        id,
        Passport {
            chain: *chain,
            not_after: certified.not_after,
        },
    ))
}

/// The first frame of a stream, which must be a hello, and what was read behind it.
pub(super) async fn read_hello(recv: &mut RecvStream) -> Result<(Hello, BytesMut), Refused> {
    let mut codec = frames::codec(frames::STREAM_FRAME_MAX);
    let mut unread = BytesMut::new();
    loop {
        match codec.decode(&mut unread) {
            Ok(Some(bytes)) => match wire::decode(bytes.freeze(), clock::mono()) {
                Ok(Frame::Hello(hello)) => return Ok((hello, unread)),
                Ok(_) => return Err(Refused::Hello("something else came first".to_owned())),
                Err(error) => return Err(Refused::Hello(error.to_string())),
            },
            Ok(None) => {}
            Err(error) => return Err(Refused::Hello(error.to_string())),
        }
        match recv.read_chunk(frames::STREAM_FRAME_MAX, true).await {
            Ok(Some(chunk)) => unread.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err(Refused::Hello("the stream ended".to_owned())),
            Err(quinn::ReadError::ConnectionLost(error)) => return Err(Refused::Connection(error)),
            Err(error) => return Err(Refused::Hello(error.to_string())),
        }
    }
}

impl Endpoint {
    pub(super) async fn say_hello(&self, send: &mut SendStream) -> Result<(), Refused> {
        let frame = Frame::Hello(self.hello.clone());
        let bytes =
            frames::alone(&frame, clock::mono()).map_err(|e| Refused::Hello(e.to_string()))?;
        send.write_chunk(bytes).await.map_err(|error| match error {
            quinn::WriteError::ConnectionLost(error) => Refused::Connection(error),
            other => Refused::Hello(other.to_string()),
        })
    }

    pub(super) fn introduced(&self, host: Id, hello: &Hello) -> Result<Introduced, Refused> {
        if hello.cluster != self.hello.cluster {
            return Err(Refused::Hello(format!(
                "it belongs to cluster {:?}",
                hello.cluster
            )));
        }
        if hello.positions > POSITIONS_MAX {
            return Err(Refused::Hello(format!(
                "it claims {} positions",
                hello.positions
            )));
        }
        // Others will dial what it names.
        let named = hello.addr.to_socket();
        if named.is_none_or(|named| named.port() == 0 || named.ip().is_multicast()) {
            return Err(Refused::Hello(
                "it names no address to be dialled".to_owned(),
            ));
        }
        let Hello {
            incarnation,
            addr,
            positions,
            service,
            ..
        } = *hello;
        Ok(Introduced {
            host,
            incarnation,
            addr,
            positions,
            service,
        })
    }
}
