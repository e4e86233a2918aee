//! What is too large for the frame stream.

use super::*;

fn pull(op: u64, to: Peer) -> Call {
    let span = chord_core::id::Span::whole(host("x"));
    let request = Request::Pull {
        span,
        after: None,
        bytes_max: 1_000,
    };
    Call {
        request,
        ..call(op, to)
    }
}

#[test]
fn a_ninth_bulk_call_waits_and_too_many_are_refused() {
    let mut peers = peers(host("me"));
    let you = host("you");
    let link = linked(&mut peers, you);
    for op in 0..BULK_MAX + BULK_WAITING_MAX {
        peers.call(pull(op as u64, peer(you, 1)), NOW);
    }
    let started: Vec<u32> = effects(&mut peers)
        .into_iter()
        .map(|effect| match effect {
            Effect::Bulk {
                call: Some(number), ..
            } => number,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(started.len(), BULK_MAX);
    peers.call(pull(99, peer(you, 1)), NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(99),
                result: Err(CallError::Overloaded),
                ..
            },
        ] => {}
        other => panic!("{other:?}"),
    }
    // One is answered, the next one starts.
    peers.heard(link, done(started[0]), None, NOW);
    peers.bulk_ended(link, Some(started[0]), false, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(0),
                result: Ok(_),
                ..
            },
            Effect::Bulk { .. },
        ] => {}
        other => panic!("{other:?}"),
    }
    // One is refused for want of memory over there.
    peers.bulk_ended(link, Some(started[1]), true, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Answer {
                op: OpId(1),
                result: Ok(Response::Refused(Refusal::Overloaded { .. })),
                ..
            },
            Effect::Bulk { .. },
        ] => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_large_answer_to_a_small_request_goes_on_a_stream_of_its_own() {
    let mut peers = peers(host("me"));
    let link = linked(&mut peers, host("you"));
    let key = chord_core::message::Key::new(Bytes::from_static(b"k")).expect("a key");
    let get = Request::Get {
        key: key.clone(),
        quorum: false,
    };
    peers.heard(link, request(3, Id::ZERO, 0, Asked::Known(get)), None, NOW);
    let Some(Effect::Request { way, .. }) = peers.effects.pop_front() else {
        panic!("no request")
    };
    let header = chord_core::message::Header {
        version: chord_core::message::Version::default(),
        operation: chord_core::message::OperationId::default(),
        copies: 1,
        tombstone: false,
        expires: NOW + Micros::from_secs(9),
        shadow: NOW + Micros::from_secs(9),
    };
    let record = Some(Record {
        key,
        value: Bytes::from(vec![0; 10_000]),
        header,
    });
    peers.reply(way, Response::Got { record }, NOW);
    match &effects(&mut peers)[..] {
        [
            Effect::Bulk {
                call: None, bytes, ..
            },
        ] => {
            let frame = wire::decode(bytes.slice(frames::LENGTH..), NOW).expect("a frame");
            assert!(matches!(
                frame,
                Frame::Response(ResponseFrame { id: 3, .. })
            ));
        }
        other => panic!("{other:?}"),
    }
}
