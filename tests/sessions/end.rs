//! Sessions end by `DELETE`, by `OfferSession::forget` and by its guard.

use http::Method;
use tower_offer_dedup::{OfferDedupLayer, http::HttpAnswer};

use crate::{
    server::{ALICE, Answered, BOB, Server},
    settle,
};

fn created(n: usize, is_replayed: bool) -> Answered {
    Answered {
        status: 201,
        location: Some(format!("/session/{n}")),
        is_replayed,
    }
}

#[tokio::test]
async fn response_to_delete_decides() {
    for (status, ends) in [
        (200, true),
        (202, true),
        (204, true),
        (404, true),
        (410, true),
        (302, false),
        (400, false),
        (401, false),
        (403, false),
        (405, false),
        (412, false),
        (500, false),
        (503, false),
    ] {
        let server = Server::whip();
        assert_eq!(server.post(ALICE, 1).await, created(0, false));
        server.delete(ALICE, "/session/0", status).await;
        let expected = if ends { created(1, false) } else { created(0, true) };
        assert_eq!(server.post(ALICE, 1).await, expected, "{status}");
        assert_eq!(server.posts(), if ends { 2 } else { 1 }, "{status}");
    }
}

#[tokio::test]
async fn only_success_counts_with_other_credentials() {
    for (status, ends) in [(200, true), (204, true), (404, false), (410, false), (403, false)] {
        let server = Server::whip();
        server.post(ALICE, 1).await;
        server.delete(BOB, "/session/0", status).await;
        let expected = if ends { created(1, false) } else { created(0, true) };
        assert_eq!(server.post(ALICE, 1).await, expected, "{status}");
    }
}

#[tokio::test]
async fn other_uris_and_methods_end_nothing() {
    let server = Server::whip();
    server.post(ALICE, 1).await;
    for path in ["/session/1", "/session/0?x", "/whip/stage", "/session/0/"] {
        server.delete(ALICE, path, 204).await;
    }
    for method in [Method::GET, Method::PATCH, Method::OPTIONS] {
        let answered = server.send(ALICE, method, "/session/0", String::new()).await;
        assert_eq!(answered.status, 204);
    }
    assert_eq!(server.post(ALICE, 1).await, created(0, true));
}

#[tokio::test]
async fn delete_of_old_session_spares_new() {
    let server = Server::whip();
    assert_eq!(server.post(ALICE, 1).await, created(0, false));
    assert_eq!(server.post(ALICE, 2).await, created(1, false));
    server.delete(ALICE, "/session/0", 204).await;
    assert_eq!(server.post(ALICE, 2).await, created(1, true));
    assert_eq!(server.post(ALICE, 1).await, created(2, false));
}

#[tokio::test(start_paused = true)]
async fn delete_while_duplicate_waits_spares_it() {
    let server = Server::whip();
    server.post(ALICE, 1).await;
    server.delete(ALICE, "/session/0", 204).await;
    server.hold();
    let first = server.spawn_post(ALICE, 1);
    settle().await;
    let duplicate = server.spawn_post(ALICE, 1);
    settle().await;
    assert_eq!(server.handle.stats().waiters, 1);
    server.delete(ALICE, "/session/0", 404).await;
    server.delete(ALICE, "/session/1", 404).await;
    server.release();
    assert_eq!(first.await.unwrap(), created(1, false));
    assert_eq!(duplicate.await.unwrap(), created(1, true));
    assert_eq!(server.post(ALICE, 1).await, created(1, true));
}

#[tokio::test]
async fn late_guard_of_old_session_spares_new() {
    let server = Server::whip();
    server.post(ALICE, 1).await;
    let guard = server.session(0).forget_on_drop();
    server.delete(ALICE, "/session/0", 204).await;
    assert_eq!(server.post(ALICE, 1).await, created(1, false));
    drop(guard);
    assert_eq!(server.post(ALICE, 1).await, created(1, true));
    drop(server.session(1).forget_on_drop());
    assert_eq!(server.post(ALICE, 1).await, created(2, false));
}

#[tokio::test]
async fn second_end_changes_nothing() {
    let server = Server::whip();
    server.post(ALICE, 1).await;
    let (session, guard) = (server.session(0), server.session(0).forget_on_drop());
    assert!(session.forget());
    assert!(!session.forget());
    assert_eq!(server.post(ALICE, 1).await, created(1, false));
    drop(guard);
    server.delete(ALICE, "/session/0", 204).await;
    assert!(!session.forget());
    assert_eq!(server.post(ALICE, 1).await, created(1, true));
    assert_eq!(server.handle.stats().forgotten, 1);
}

#[tokio::test]
async fn guard_ends_session_from_another_task() {
    let server = Server::whip();
    server.post(ALICE, 1).await;
    let guard = server.session(0).forget_on_drop();
    tokio::spawn(async move { drop(guard) }).await.unwrap();
    assert_eq!(server.post(ALICE, 1).await, created(1, false));
}

#[test]
fn guard_may_outlive_layer_and_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = Server::whip();
    runtime.block_on(server.post(ALICE, 1));
    let (session, handle) = (server.session(0), server.handle.clone());
    drop(server);
    drop(runtime);
    drop(session.clone().forget_on_drop());
    assert_eq!(handle.stats().forgotten, 1);
    assert!(!session.forget());
}

#[tokio::test(start_paused = true)]
async fn end_in_flight_prevents_remembering_only() {
    for status in [201, 400] {
        let server = Server::whip();
        server.answer_posts_with(status);
        server.hold();
        let first = server.spawn_post(ALICE, 1);
        settle().await;
        let duplicate = server.spawn_post(ALICE, 1);
        settle().await;
        drop(server.session(0).forget_on_drop());
        assert_eq!(server.handle.stats().claims, 1);
        server.release();
        let answers = [first.await.unwrap(), duplicate.await.unwrap()];
        assert_eq!(answers.map(|answer| answer.status), [status; 2]);
        assert_eq!(server.posts(), 1, "{status}");
        server.answer_posts_with(201);
        assert_eq!(server.post(ALICE, 1).await, created(1, false), "{status}");
        assert_eq!(server.post(ALICE, 1).await, created(1, true), "{status}");
    }
}

#[tokio::test]
async fn refused_duplicates_end_with_session() {
    let builder = OfferDedupLayer::whip().answer(HttpAnswer::refusing());
    let server = Server::built(builder, |n| format!("/session/{n}"));
    assert_eq!(server.post(ALICE, 1).await, created(0, false));
    assert_eq!(server.post(ALICE, 1).await.status, 409);
    server.delete(ALICE, "/session/0", 204).await;
    assert_eq!(server.post(ALICE, 1).await, created(1, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn delete_right_after_answer_finds_session() {
    let server = Server::whip();
    for round in 0..200 {
        let posts: Vec<_> = (0..4)
            .map(|_| {
                let server = server.clone();
                tokio::spawn(async move {
                    let location = server.post(ALICE, 1).await.location.unwrap();
                    server.delete(ALICE, &location, 204).await;
                    location
                })
            })
            .collect();
        for post in posts {
            post.await.unwrap();
        }
        // All sessions have ended.
        let before = server.posts();
        let last = server.post(ALICE, 1).await;
        assert_eq!((last.is_replayed, server.posts()), (false, before + 1), "{round}");
        server.delete(ALICE, &last.location.unwrap(), 204).await;
    }
}
