//! The endpoint that tells what all preferences come to.

use super::many::SlowerView;
use crate::change::{self, Advice, Outlook, QuotaUse};
use crate::http::Api;
use crate::http::auth::Authenticated;
use crate::http::error::ApiError;
use crate::http::refusals::Refusals;
use crate::words::ConnectionId;
use axum::extract::State;
use serde::Serialize;

/// What all your preferences ask of each quota, and what they get.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct PlanView {
    /// By provider.
    providers: Vec<ProviderPlan>,
}

/// What your jobs at one provider ask and get in the long run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ProviderPlan {
    /// The provider.
    #[schema(example = "meadow")]
    provider: String,
    /// How many jobs are scheduled.
    #[schema(example = 300)]
    jobs: usize,
    /// How many of them get what they ask.
    #[schema(example = 250)]
    as_asked: usize,
    /// Those that get less, by what limits them; most jobs first.
    slower: Vec<SlowerView>,
    /// The quotas that count them: those first that limit most jobs.
    quotas: Vec<QuotaUseView>,
    /// Up to three changes that would help most, each by itself.
    advice: Vec<AdviceView>,
}

/// What your jobs ask of a quota. Amounts are costs per hour in the provider's units: calls, unless its documentation
/// counts otherwise.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct QuotaUseView {
    /// The quota.
    #[schema(example = "hour")]
    quota: String,
    /// What it counts.
    #[schema(example = "connection 3")]
    holder: String,
    /// The connection that it counts; null if all connections share it, or it counts one device.
    #[schema(required = true, example = 3)]
    connection: Option<ConnectionId>,
    /// What would be spent if nothing limited it; null if others share it.
    #[schema(required = true, example = 1200.0)]
    asked_per_h: Option<f64>,
    /// What is spent; null if others share it.
    #[schema(required = true, example = 500.0)]
    used_per_h: Option<f64>,
    /// What it allows in the long run.
    #[schema(example = 500.0)]
    allows_per_h: f64,
    /// How many of your jobs get less than they ask because of it.
    #[schema(example = 50)]
    limited_jobs: u64,
}

/// A change that would help: `PATCH /v1/jobs?{query}` with this interval makes it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AdviceView {
    /// The change in words.
    #[schema(
        example = "refresh energy at connection \"home\" every 1m at most (12 jobs): 8 others then get what they ask"
    )]
    text: String,
    /// The filters that name the jobs to change.
    #[schema(example = "connection=3&resource=energy&state=active&faster_than=1m")]
    query: String,
    /// The interval to set.
    #[schema(example = "1m")]
    interval: String,
    /// How many jobs would be changed.
    #[schema(example = 12)]
    jobs: usize,
    /// How many others would then get what they ask, which now get less.
    #[schema(example = 8)]
    helped: usize,
    /// How many jobs of the connection would still get less than they ask.
    #[schema(example = 0)]
    still_slower: usize,
}

/// Returns what all your preferences ask of each quota, what they get, and which changes would help most.
#[utoipa::path(
    get, path = "/v1/plan", operation_id = "get_plan", tag = "jobs", security(("bearer" = [])),
    responses((status = 200, description = "The plan, by provider", body = PlanView), Refusals)
)]
pub(in crate::http) async fn plan(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
) -> Result<axum::Json<PlanView>, ApiError> {
    let found = change::outlook(&api.app, &api.plans, principal.tenant).await?;
    Ok(axum::Json(PlanView { providers: found.into_iter().map(ProviderPlan::from).collect() }))
}

impl From<Outlook> for ProviderPlan {
    fn from(outlook: Outlook) -> Self {
        Self {
            provider: outlook.provider.to_string(),
            jobs: outlook.jobs,
            as_asked: outlook.as_asked,
            slower: outlook.slower.into_iter().map(SlowerView::from).collect(),
            quotas: outlook.quotas.into_iter().map(QuotaUseView::from).collect(),
            advice: outlook.advice.into_iter().map(AdviceView::from).collect(),
        }
    }
}

impl From<QuotaUse> for QuotaUseView {
    fn from(of: QuotaUse) -> Self {
        let rounded = |cost: f64| (cost * 10.0).round() / 10.0;
        Self {
            quota: of.quota,
            holder: of.holder,
            connection: of.connection,
            asked_per_h: of.asked_per_h.map(rounded),
            used_per_h: of.used_per_h.map(rounded),
            allows_per_h: rounded(of.allows_per_h),
            limited_jobs: of.limited_jobs,
        }
    }
}

impl From<Advice> for AdviceView {
    fn from(advice: Advice) -> Self {
        let Advice { connection, label, resource, interval, jobs, helped, still_slower } = advice;
        let others = match helped {
            0 => format!("all but {still_slower} then get what they ask"),
            1 => "another then gets what it asks".to_owned(),
            helped => format!("{helped} others then get what they ask"),
        };
        let noun = if jobs == 1 { "job" } else { "jobs" };
        Self {
            text: format!(
                "refresh {resource} at connection {label:?} every {interval} at most ({jobs} {noun}): {others}"
            ),
            query: format!("connection={connection}&resource={resource}&state=active&faster_than={interval}"),
            interval: interval.to_string(),
            jobs,
            helped,
            still_slower,
        }
    }
}
