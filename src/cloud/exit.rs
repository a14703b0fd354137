//! Waits until the process is asked to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The signals, and the end of stdin. Built before the cloud announces its address, so that no signal is missed.
pub(super) struct Exit {
    interrupt: Signal,
    terminate: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Exit {
    pub(super) fn new(with_stdin: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            stdin: with_stdin.then(stdin_closed),
        })
    }

    pub(super) async fn requested(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = closed(self.stdin) => {}
        }
    }
}

async fn closed(stdin: Option<oneshot::Receiver<()>>) {
    match stdin {
        Some(closed) => drop(closed.await),
        None => std::future::pending().await,
    }
}

/// Reads stdin on a thread outside tokio: the runtime waits for blocking reads when it shuts down, and this one may
/// never return.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // An unreadable stdin counts as closed.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = sender.send(());
    });
    receiver
}
