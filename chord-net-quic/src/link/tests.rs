//! What one host may take of us, with no connection at all.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use chord_core::id::Id;
use chord_core::message::Response;
use chord_core::wire::ResponseFrame;

use super::*;

fn inlet(link: u64, host: &[u8], shares: &Shares, shared: &Shared) -> Inlet {
    Inlet::new(LinkId(link), shares.of(Id::hash(host)), shared)
}

fn frame(id: u32) -> Frame {
    Frame::Response(ResponseFrame {
        id,
        incarnation: 1,
        response: Response::Done,
    })
}

/// The result of a future if it has one at once.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// From which connections the frames in the inbox are.
fn drain(inbox: &mut mpsc::Receiver<Heard>) -> Vec<LinkId> {
    let mut links = Vec::new();
    while let Ok(heard) = inbox.try_recv() {
        match heard {
            Heard::Frame { link, .. } => links.push(link),
            other => panic!("{other:?}"),
        }
    }
    links
}

#[tokio::test]
async fn however_fast_one_host_sends_another_waits_for_a_bounded_number_of_its_frames() {
    let (inbox, mut heard) = mpsc::channel(1_024);
    let shared = Shared::new(Tasks::new().0, inbox);
    let shares = Shares::default();
    // Two connections of one host, with more than the inbox holds.
    for link in [1, 2] {
        let flooder = inlet(link, b"flooder", &shares, &shared);
        shared.tasks.spawn(async move {
            for id in 0..2_000 {
                flooder.frame(frame(id), None).await;
            }
        });
    }
    let other = inlet(3, b"other", &shares, &shared);
    let mut flooded = 0;
    for turn in 0..4_000 / share::FRAMES_MAX {
        tokio::task::yield_now().await;
        let sent = at_once(other.frame(frame(0), None)).await;
        assert!(sent.is_some(), "there is room in turn {turn}");
        let links = drain(&mut heard);
        let before = links.iter().position(|link| *link == LinkId(3));
        assert!(before.is_some_and(|count| count <= share::FRAMES_MAX));
        assert!(links.len() <= share::FRAMES_MAX + 1, "{}", links.len());
        flooded += links.len() - 1;
    }
    assert!(flooded > 2_000, "alone it is not held back: {flooded}");
}

#[tokio::test]
async fn bodies_of_one_host_leave_memory_for_those_of_others() {
    let (inbox, _heard) = mpsc::channel(1);
    let shared = Shared::new(Tasks::new().0, inbox);
    let shares = Shares::default();
    let first = inlet(1, b"greedy", &shares, &shared);
    let second = inlet(2, b"greedy", &shares, &shared);
    let mut held = Vec::new();
    while let Some(memory) = at_once(bulk::admit(1 << 20, &first)).await {
        held.push(memory.expect("granted"));
        assert!(held.len() <= BODIES_MAX >> 20, "no end");
    }
    assert_eq!(held.len(), share::BODIES_MAX >> 20);
    assert!(at_once(bulk::admit(1, &second)).await.is_none());
    let other = inlet(3, b"other", &shares, &shared);
    assert!(at_once(bulk::admit(1 << 20, &other)).await.is_some());
    held.pop();
    assert!(at_once(bulk::admit(1 << 20, &second)).await.is_some());
}
