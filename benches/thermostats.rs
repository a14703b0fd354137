//! A tiny, fast cloud of thermostats that remembers when it was asked for which.

use crate::Failed;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use paceline::redis::Redis;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The number that is its external id.
    pub device: usize,
    pub at: Instant,
}

type Arrivals = Arc<Mutex<Vec<Arrival>>>;

/// The cloud; it ends when this is dropped.
pub struct Thermostats {
    pub port: u16,
    pub url: String,
    arrivals: Arrivals,
    server: JoinHandle<()>,
}

impl Thermostats {
    /// Answers on loopback.
    pub async fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let arrivals = Arrivals::default();
        let router = Router::new().route("/{device}", get(answer)).with_state(arrivals.clone());
        let server = tokio::spawn(async move {
            // It ends with the bench: there is nobody left to tell.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { port, url: format!("http://127.0.0.1:{port}"), arrivals, server })
    }

    /// What came since it was last asked.
    pub fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Thermostats {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A reading that no two requests share, so that each is recorded in full.
async fn answer(State(arrivals): State<Arrivals>, Path(device): Path<usize>) -> String {
    let at = Instant::now();
    let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    arrivals.push(Arrival { device, at });
    format!(r#"{{"id":"{device}","values":{{"temperature_c":{}}}}}"#, arrivals.len())
}

/// What Redis's clock, by which jobs are due, shows at an instant of this process's.
#[derive(Debug, Clone, Copy)]
pub struct SharedClock {
    at: Instant,
    unix_ms: f64,
}

impl SharedClock {
    /// Asks it. On loopback the answer is older by a fraction of a millisecond.
    pub async fn ask(redis: &Redis) -> Result<Self, Failed> {
        let (s, us): (u32, u32) = redis::cmd("TIME").query_async(&mut redis.link()).await?;
        Ok(Self { at: Instant::now(), unix_ms: f64::from(s) * 1000.0 + f64::from(us) / 1000.0 })
    }

    /// What it shows at `at`, ms since the epoch.
    pub fn unix_ms(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.at) {
            Some(after) => self.unix_ms + after.as_secs_f64() * 1000.0,
            None => self.unix_ms - (self.at - at).as_secs_f64() * 1000.0,
        }
    }

    /// When it shows this; now, if it has already.
    pub fn instant(&self, unix_ms: f64) -> Instant {
        self.at + std::time::Duration::from_secs_f64((unix_ms - self.unix_ms).max(0.0) / 1000.0)
    }
}
