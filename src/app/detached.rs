//! Tasks that must finish even if the caller goes away: a call that was sent is settled, and what it brought is kept.

use super::App;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// A detached task did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the task that made the call failed: {0}")]
pub struct TaskFailed(#[from] JoinError);

impl App {
    /// Runs work to its end, whether or not the caller waits for it. The token is cancelled when the caller goes away:
    /// by it, work that has sent nothing yet can stop.
    pub async fn run_detached<T, F>(
        &self,
        work: impl FnOnce(Self, CancellationToken) -> F,
    ) -> Result<T, TaskFailed>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let abandoned = CancellationToken::new();
        let _caller = abandoned.clone().drop_guard();
        Ok(self.detached.spawn(work(self.clone(), abandoned)).await?)
    }
}
