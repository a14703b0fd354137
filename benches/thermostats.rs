//! A small, fast cloud of thermostats that records when each was requested.

use crate::Failed;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use paceline::redis::Redis;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A received request.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The device's external id, a number.
    pub device: usize,
    pub at: Instant,
}

type Arrivals = Arc<Mutex<Vec<Arrival>>>;

/// The cloud. Dropping this stops it.
pub struct Thermostats {
    pub port: u16,
    pub url: String,
    arrivals: Arrivals,
    server: JoinHandle<()>,
}

impl Thermostats {
    /// Starts it on loopback.
    pub async fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let arrivals = Arrivals::default();
        let router = Router::new().route("/{device}", get(respond)).with_state(arrivals.clone());
        let server = tokio::spawn(async move {
            // The task is aborted with the bench, so the result is of no use.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { port, url: format!("http://127.0.0.1:{port}"), arrivals, server })
    }

    /// Waits for the first call.
    pub async fn wait_for_calls(&self) -> Result<(), Failed> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.arrivals().is_empty() {
            if Instant::now() > deadline {
                return Err("no call arrived within a minute".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Returns and clears the arrivals.
    pub fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Thermostats {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Responds with a different reading each time, so that each is recorded in full.
async fn respond(State(arrivals): State<Arrivals>, Path(device): Path<usize>) -> String {
    let at = Instant::now();
    let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    arrivals.push(Arrival { device, at });
    // Plausible: what is not would be left out, and a job without a value runs ever more rarely.
    let temperature_c = (arrivals.len() % 4_000) as f64 / 100.0;
    format!(r#"{{"id":"{device}","values":{{"temperature_c":{temperature_c}}}}}"#)
}

/// Maps instants of this process to Redis's clock, by which jobs are due.
#[derive(Debug, Clone, Copy)]
pub struct SharedClock {
    at: Instant,
    unix_ms: f64,
}

impl SharedClock {
    /// Reads Redis's clock. On loopback the value is a fraction of a millisecond old.
    pub async fn read(redis: &Redis) -> Result<Self, Failed> {
        let (s, us): (u32, u32) = redis::cmd("TIME").query_async(&mut redis.link()).await?;
        Ok(Self { at: Instant::now(), unix_ms: f64::from(s) * 1000.0 + f64::from(us) / 1000.0 })
    }

    /// Redis's time at `at`, ms since the epoch.
    pub fn unix_ms(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.at) {
            Some(after) => self.unix_ms + after.as_secs_f64() * 1000.0,
            None => self.unix_ms - (self.at - at).as_secs_f64() * 1000.0,
        }
    }

    /// The instant of this time; the present if it has passed.
    pub fn instant(&self, unix_ms: f64) -> Instant {
        self.at + Duration::from_secs_f64((unix_ms - self.unix_ms).max(0.0) / 1000.0)
    }
}
