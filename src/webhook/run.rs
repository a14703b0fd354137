//! The keeper's loop over webhooks. Of all processes, one looks at a time; each delivers what it found.

use super::deliver::deliver;
use super::look::{Due, look};
use crate::app::App;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How often it looks: what came in between is one batch.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A turn to look lasts a little less, so that whoever had the last one finds the next one free.
const TURN: Duration = Duration::from_millis(900);
/// How often it looks while no webhook is enabled.
const LOOK_IDLE: Duration = Duration::from_secs(5);
/// How long posts under way may take when the process, or its role, stops. Those that are cut off are repeated.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How many webhooks a process delivers to at once …
const AT_ONCE: usize = 8;
/// … of those, to so many whose last attempt failed: they may hang …
const FAILING_AT_ONCE: usize = 3;
/// … and to so many of one tenant.
const TENANT_AT_ONCE: usize = 4;

/// Delivers to webhooks until stopped.
pub async fn run(app: App, stop: CancellationToken) {
    let mut courier = Courier::new(app);
    let mut look_at = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = courier.running.join_next() => courier.ended(ended.ok().flatten()),
            () = sleep_until(look_at) => look_at = Instant::now() + courier.turn().await,
        }
        courier.start();
    }
    let ending = async { while courier.running.join_next().await.is_some() {} };
    if timeout(STOP_WITHIN, ending).await.is_err() {
        tracing::debug!("posts to webhooks cut off; they are repeated");
    }
}

/// Deliveries of a process.
struct Courier {
    app: App,
    running: JoinSet<Option<Due>>,
    /// To which webhooks they are.
    under_way: Vec<Due>,
    /// Found by the last look, and not begun yet.
    waiting: VecDeque<Due>,
    /// The last failure, which is logged once.
    logged: Option<String>,
}

impl Courier {
    fn new(app: App) -> Self {
        Self { app, running: JoinSet::new(), under_way: Vec::new(), waiting: VecDeque::new(), logged: None }
    }

    /// Looks for what is due, if it is this process's turn. Returns when to look again.
    async fn turn(&mut self) -> Duration {
        // One that has enough to do leaves the turn to others.
        if self.under_way.len() >= AT_ONCE {
            return LOOK_EVERY;
        }
        match self.app.redis.take_turn(&self.app.keys.webhooks(), TURN).await {
            Ok(true) => {}
            Ok(false) => return LOOK_EVERY,
            Err(error) => {
                self.log(error.to_string());
                return LOOK_EVERY;
            }
        }
        match look(&self.app).await {
            Ok(Some(due)) => {
                self.logged = None;
                self.waiting = due.into();
                LOOK_EVERY
            }
            Ok(None) => LOOK_IDLE,
            Err(error) => {
                self.log(error.to_string());
                LOOK_EVERY
            }
        }
    }

    /// Begins what may run beside what runs.
    fn start(&mut self) {
        for due in std::mem::take(&mut self.waiting) {
            if self.under_way.iter().any(|it| it.id == due.id) {
                continue;
            }
            if !self.has_place(&due) {
                self.waiting.push_back(due);
                continue;
            }
            self.under_way.push(due);
            let app = self.app.clone();
            self.running.spawn(async move {
                let delivery = async {
                    if let Err(error) = deliver(&app, &due).await {
                        tracing::warn!(webhook = due.id.0, %error, "webhook not delivered to; will try again");
                    }
                };
                app.supervisor.once("delivery to a webhook", delivery).await;
                Some(due)
            });
        }
    }

    fn has_place(&self, due: &Due) -> bool {
        let count = |of: &dyn Fn(&&Due) -> bool| self.under_way.iter().filter(of).count();
        self.under_way.len() < AT_ONCE
            && count(&|it| it.tenant == due.tenant) < TENANT_AT_ONCE
            && !(due.failing && count(&|it| it.failing) >= FAILING_AT_ONCE)
    }

    fn ended(&mut self, due: Option<Due>) {
        self.under_way.retain(|it| due.is_none_or(|due| it.id != due.id));
    }

    /// Logs a failure that repeats once.
    fn log(&mut self, error: String) {
        if self.logged.as_ref() != Some(&error) {
            tracing::warn!(error, "webhooks not looked at; will try again");
            self.logged = Some(error);
        }
    }
}
