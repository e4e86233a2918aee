//! What calls hold of the memory for requests and answers, and how long a request may take.
//!
//! What has arrived counts, not what was announced: a client that promises much and sends
//! little takes nothing from the others. A share goes back when its call has ended, the
//! answer included.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Time for a whole request to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What one call holds. Clones are the same share.
#[derive(Clone, Debug)]
pub(super) struct Share(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Share {
    /// Nothing yet, of the bytes that `all` counts.
    pub(super) fn of(all: Arc<Semaphore>) -> Self {
        let held = Mutex::new(None);
        Self(Arc::new(Inner { all, held }))
    }

    /// Holds `bytes` more until the last clone is gone.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: others hold them.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Status> {
        let too_much = || Status::resource_exhausted("too much in flight; nothing happened");
        let bytes = u32::try_from(bytes).map_err(|_| too_much())?;
        let more = self.0.all.clone().try_acquire_many_owned(bytes);
        let more = more.map_err(|_| too_much())?;
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// A request that counts and that must arrive in time.
#[derive(Debug)]
pub(super) struct Metered<B> {
    body: B,
    share: Share,
    /// Bytes that may still come.
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl<B> Metered<B> {
    /// At most `max` bytes of `body`, counted in `share`.
    pub(super) fn new(body: B, share: Share, max: usize) -> Self {
        Self {
            body,
            share,
            left: max,
            until: Box::pin(sleep(REQUEST_TIME)),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Metered<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.until.as_mut().poll(cx).is_ready() {
            let slow = format!(
                "the request did not arrive within {} s",
                REQUEST_TIME.as_secs()
            );
            return Poll::Ready(Some(Err(Status::deadline_exceeded(slow))));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(_)) => {
                let broken = Status::cancelled("the request broke off");
                return Poll::Ready(Some(Err(broken)));
            }
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(left) = self.left.checked_sub(length) else {
            let long = Status::out_of_range("the request is too long");
            return Poll::Ready(Some(Err(long)));
        };
        self.left = left;
        Poll::Ready(Some(self.share.take(length).map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Empty, Full};
    use std::convert::Infallible;
    use tonic::Code;

    /// A body whose end never comes.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_given_up_after_ten_seconds() {
        let share = Share::of(Arc::new(Semaphore::new(10)));
        let begun = tokio::time::Instant::now();
        let ended = Metered::new(Endless, share, 10).collect().await;
        assert_eq!(ended.expect_err("late").code(), Code::DeadlineExceeded);
        assert_eq!(begun.elapsed(), REQUEST_TIME);
    }

    #[tokio::test]
    async fn requests_share_a_bounded_memory_until_their_calls_end() {
        let all = Arc::new(Semaphore::new(10));
        let body = |text| Full::new(Bytes::from_static(text));
        let first = Share::of(all.clone());
        let read = Metered::new(body(b"12345678"), first.clone(), 10).collect();
        assert_eq!(read.await.expect("there is room").to_bytes(), "12345678");
        let second = Metered::new(body(b"123"), Share::of(all.clone()), 10).collect();
        let refused = second.await.expect_err("full");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        drop(first);
        let third = Metered::new(body(b"123"), Share::of(all.clone()), 10).collect();
        third.await.expect("there is room again");
        assert_eq!(all.available_permits(), 10, "all of it is free again");
    }

    #[tokio::test]
    async fn a_request_beyond_its_length_is_refused_for_good() {
        let share = Share::of(Arc::new(Semaphore::new(100)));
        let body = Full::new(Bytes::from_static(b"12345"));
        let long = Metered::new(body, share.clone(), 4).collect().await;
        assert_eq!(long.expect_err("too long").code(), Code::OutOfRange);
        let empty = Metered::new(Empty::new(), share, 0).collect().await;
        empty.expect("nothing is no bytes");
    }
}
