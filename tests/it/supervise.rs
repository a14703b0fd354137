//! A process whose task keeps panicking ends; one whose task panics once goes on.

use crate::support::TestApp;
use paceline::retry::Retry;
use paceline::serve::{Role, ServeError, serve};
use paceline::supervise::{RestartPolicy, Supervisor};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const TIMEOUT: Duration = Duration::from_secs(30);

async fn app() -> TestApp {
    let mut t = TestApp::with(&[]).await;
    t.app.supervisor = Supervisor::new(RestartPolicy {
        delay: Retry { base: Duration::from_millis(1), cap: Duration::from_millis(1) },
        panics_max: 3,
        ..RestartPolicy::default()
    });
    t
}

#[tokio::test]
async fn serve_fails_when_a_task_keeps_panicking() {
    let t = app().await;
    let stop = CancellationToken::new();
    let panicking = t.app.supervisor.run("broken", &stop, || async { panic!("it cannot work") });
    let serving = serve(t.app.clone(), &[Role::Fetch, Role::Keep], None, stop.clone());
    let (served, ()) = timeout(TIMEOUT, async { tokio::join!(serving, panicking) }).await.expect("an end");
    let error = served.expect_err("a failure");
    assert!(matches!(&error, ServeError::GaveUp(failure) if failure.task == "broken"), "{error}");
    let sentence = error.to_string();
    assert!(sentence.contains("3 times in a row") && sentence.contains("it cannot work"), "{sentence}");
    assert!(!stop.is_cancelled(), "the caller's token is the caller's");
}

#[tokio::test]
async fn serve_goes_on_when_a_task_panics_once() {
    let t = app().await;
    let (stop, mut starts) = (CancellationToken::new(), 0);
    let panics_once = t.app.supervisor.run("shaky", &stop, || {
        starts += 1;
        let (first, stop) = (starts == 1, stop.clone());
        async move {
            assert!(!first, "the first run");
            // The second works: here, it ends the test.
            stop.cancel();
        }
    });
    let serving = serve(t.app.clone(), &[Role::Keep], None, stop.clone());
    let (served, ()) = timeout(TIMEOUT, async { tokio::join!(serving, panics_once) }).await.expect("an end");
    served.unwrap();
    assert_eq!((starts, t.app.supervisor.panics()), (2, 1));
}
