//! Limits that depend on a connection's plan and number of devices: on a real Redis with simulated time, and from
//! Postgres.

use crate::support::TestApp;
use crate::take::{Rig, T0, ended, job, order};
use paceline::forecast::forecast;
use paceline::keep;
use paceline::preference::connections::{self, NewConnection};
use paceline::provider::Provider;
use paceline::schedule::QuotaInputsUpdate;
use paceline::take::{Settlement, Verdict};
use paceline::words::{
    Connection, ConnectionId, End, Job, Priority, ProviderName, QuotaInputs, Secrets, UnixMs,
};
use std::collections::BTreeMap;

const MINUTE: i64 = 60_000;

/// An hourly quota without a burst: one call per minute on the free plan, ten on the paid plan.
fn plans(more: &str) -> String {
    format!(
        "[param.plan]\nabout = \"the plan\"\ndefault = \"free\"\n[[quota]]\nname = \"hour\"\n\
         scope = \"connection\"\nwindow = \"1h\"\nheadroom = 0.0\namount = {{ free = 60, paid = 600 }}\n{more}\n"
    )
}

fn update(connection: i64, plan: &str, devices: u32, read_at_us: i64) -> QuotaInputsUpdate {
    let inputs = QuotaInputs { plan: plan.to_owned(), devices };
    QuotaInputsUpdate { connection: ConnectionId(connection), inputs, read_at_us }
}

impl Rig {
    async fn put_inputs(&self, update: QuotaInputsUpdate, at: i64) {
        self.queue().put_quota_inputs(&self.provider, &[update], false, Some(UnixMs(at))).await.unwrap();
    }

    /// The number of calls that each of two connections gets within `ms` from `from` on, polled every 500 ms.
    async fn calls(&self, from: i64, ms: i64) -> [usize; 2] {
        let mut found = [0, 0];
        for at in (from..from + ms).step_by(500) {
            let taken = self.take(50, at).await;
            for grant in &taken.grants {
                found[usize::from(grant.lane != "1")] += 1;
            }
            self.finish(taken, at + 300).await;
        }
        found
    }
}

/// Puts jobs of two connections, far more than can be served.
async fn put_backlog(rig: &Rig) -> Vec<Job> {
    let jobs: Vec<_> = (1..=500).map(|id| job(id, 1 + id % 2, Priority::Normal)).collect();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    jobs
}

#[tokio::test]
async fn connections_on_different_plans_get_their_own_limits() {
    let rig = Rig::new(&plans(""), 1).await;
    let jobs = put_backlog(&rig).await;
    rig.put_inputs(update(1, "free", 3, 1), T0).await;
    rig.put_inputs(update(2, "paid", 3, 1), T0).await;
    assert_eq!(rig.calls(T0, 5 * MINUTE).await, [5, 50]);
    // A move to the smaller plan applies at once, with its quota fully spent; a move to the larger one applies at once.
    rig.put_inputs(update(2, "free", 3, 2), T0 + 5 * MINUTE).await;
    rig.put_inputs(update(1, "paid", 3, 2), T0 + 5 * MINUTE).await;
    let [more, less] = rig.calls(T0 + 5 * MINUTE, 5 * MINUTE).await;
    assert!((49..=50).contains(&more) && (4..=5).contains(&less), "{more} {less}");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn unknown_inputs_or_unknown_plan_get_the_smallest_amount() {
    let rig = Rig::new(&plans("amount_per_device = 600"), 1).await;
    put_backlog(&rig).await;
    rig.put_inputs(update(2, "retired", 0, 1), T0).await;
    assert_eq!(rig.calls(T0, 5 * MINUTE).await, [5, 5]);
}

#[tokio::test]
async fn older_inputs_are_ignored() {
    let rig = Rig::new(&plans(""), 1).await;
    rig.put_inputs(update(1, "free", 3, 7), T0).await;
    rig.put_inputs(update(1, "paid", 9, 6), T0).await;
    let stored =
        async || rig.queue().quota_inputs(&rig.provider, &[ConnectionId(1), ConnectionId(2)]).await.unwrap();
    assert_eq!(stored().await, [Some(update(1, "free", 3, 0).inputs), None]);
    rig.queue().put_quota_inputs(&rig.provider, &[update(1, "paid", 9, 6)], true, None).await.unwrap();
    assert_eq!(stored().await, [Some(update(1, "paid", 9, 0).inputs), None]);
}

#[tokio::test]
async fn more_devices_raise_the_limit_and_fewer_lower_it_at_once() {
    let rig = Rig::new(&plans("amount_per_device = 120\nper_devices = 10\nburst = 3"), 1).await;
    put_backlog(&rig).await;
    // 60 + 2 × 120, minus a burst of 3: one per 12.08 s.
    rig.put_inputs(update(1, "free", 11, 1), T0).await;
    assert_eq!(rig.calls(T0, 10 * MINUTE).await[0], 3 + 49);
    // 60 + 120: one per 20.2 s; the rest of the burst counts as spent.
    let later = T0 + 70 * MINUTE;
    rig.put_inputs(update(1, "free", 10, 2), later).await;
    assert_eq!(rig.calls(later, 10 * MINUTE).await[0], 29);
}

#[tokio::test]
async fn calendar_and_concurrent_quotas_follow_the_plan() {
    let quotas =
        plans("").replace("amount =", "kind = \"concurrent\"\namount =").replace("window = \"1h\"\n", "");
    let quotas =
        quotas.replace("headroom = 0.0\n", "").replace("free = 60, paid = 600", "free = 1, paid = 3");
    let day = "[[quota]]\nname = \"day\"\nkind = \"aligned\"\nscope = \"connection\"\nwindow = \"day\"\nburst = 4\n\
               amount = { free = 4, paid = 5 }\n";
    let rig = Rig::new(&(quotas + day), 1).await;
    put_backlog(&rig).await;
    rig.put_inputs(update(2, "paid", 0, 1), T0).await;
    let taken = rig.take(9, T0).await;
    let lanes = |lane: &str| taken.grants.iter().filter(|grant| grant.lane == lane).count();
    assert_eq!([lanes("1"), lanes("2")], [1, 3]);
    rig.put_inputs(update(2, "free", 0, 2), T0 + 10).await;
    let (one, rest) = taken.grants.iter().partition::<Vec<_>, _>(|grant| grant.call == taken.grants[1].call);
    let unsent: Vec<_> = one.iter().map(|grant| Settlement::unsent(grant.call)).collect();
    rig.taker.settle(&unsent, Some(UnixMs(T0 + 20))).await.unwrap();
    assert!(
        rig.take(9, T0 + 30).await.grants.iter().all(|grant| grant.lane != "2"),
        "two calls are still in flight"
    );
    for grant in rest {
        rig.settle(grant.call, vec![(grant.jobs[0].id, Verdict::Done(UnixMs(T0)))], T0 + 40).await;
    }
    // The counter has reached what the smaller plan allows, as if the connection had always been on it.
    let bound = rig.take(9, T0 + 50).await;
    assert!(bound.grants.iter().all(|grant| grant.lane != "2"), "{:?}", order(&bound));
    assert!(bound.bound.iter().any(|bound| bound.lane == "2" && bound.by == "day"), "{:?}", bound.bound);
}

#[tokio::test]
async fn unsent_call_of_an_earlier_plan_is_not_refunded() {
    let rig = Rig::new(&plans("burst = 2"), 1).await;
    put_backlog(&rig).await;
    rig.put_inputs(update(1, "free", 0, 1), T0).await;
    let taken = rig.take(9, T0).await;
    let own: Vec<_> = taken.grants.iter().filter(|grant| grant.lane == "1").map(|grant| grant.call).collect();
    assert_eq!(own.len(), 2);
    rig.put_inputs(update(1, "paid", 0, 2), T0 + 10).await;
    let unsent = ended(own[1], End::Unsent);
    rig.taker.settle(&[unsent], Some(UnixMs(T0 + 20))).await.unwrap();
    assert!(rig.take(9, T0 + 30).await.grants.is_empty());
    assert_eq!(rig.take(9, T0 + 10_000).await.grants.len(), 1, "at the rate of the new plan");
}

/// A provider with plans, and a connection added through the usual functions.
async fn planned(devices: usize, plan: &str) -> (TestApp, ProviderName, ConnectionId) {
    let text = format!(
        "title = \"Planned\"\n[http]\nbase_url = \"https://api.example.com\"\n{}[resource.state]\n\
         interval_min = \"1s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\n",
        plans("amount_per_device = 60")
    );
    let test = TestApp::with(&[("planned", &text)]).await;
    let new = NewConnection {
        tenant: test.tenant,
        provider: "planned".parse().unwrap(),
        label: "home".parse().unwrap(),
        params: BTreeMap::from([("plan".to_owned(), plan.to_owned())]),
        secrets: Secrets::default(),
    };
    let connection = connections::add(&test.app.pool, &test.app.sealer, new).await.unwrap();
    let provider: ProviderName = "planned".parse().unwrap();
    keep::rebuild_if_lost(&test.app, &provider).await.unwrap();
    test.add_devices("planned", connection, devices, "1s").await;
    (test, provider, connection)
}

#[tokio::test]
async fn schedule_learns_of_devices_and_plans_and_a_check_repairs_it() {
    let (test, provider, connection) = planned(3, "free").await;
    let app = &test.app;
    let known = async || app.queue.quota_inputs(&provider, &[connection]).await.unwrap().remove(0);
    assert_eq!(known().await, None);
    keep::drain(app).await.unwrap();
    assert_eq!(known().await, Some(update(0, "free", 3, 0).inputs));

    let found = connections::find(&app.pool, test.tenant, "home").await.unwrap();
    let refused = keep::set_plan(app, test.tenant, &found, "pro").await.unwrap_err().to_string();
    assert!(refused.contains("has no plan \"pro\": it has free and paid"), "{refused}");
    keep::set_plan(app, test.tenant, &found, "paid").await.unwrap();
    assert_eq!(known().await, Some(update(0, "paid", 3, 0).inputs));
    assert!(keep::check(app, false).await.unwrap().clean);

    sqlx::query("UPDATE connections SET params = '{}'").execute(&app.pool).await.unwrap();
    sqlx::query("DELETE FROM jobs WHERE device_id = (SELECT max(device_id) FROM devices)")
        .execute(&app.pool)
        .await
        .unwrap();
    sqlx::query("DELETE FROM devices WHERE device_id = (SELECT max(device_id) FROM devices)")
        .execute(&app.pool)
        .await
        .unwrap();
    let report = keep::check(app, false).await.unwrap();
    let says = |what: &str| report.problems.iter().any(|problem| problem.what.contains(what));
    assert!(says("has an older plan or number of devices"), "{report:?}");
    assert!(keep::check(app, true).await.unwrap().clean);
    assert_eq!(known().await, Some(update(0, "free", 2, 0).inputs), "the definition's default");

    let mut link = app.redis.link();
    redis::cmd("DEL")
        .arg(format!("{}quota_inputs", app.keys.anchor(&provider)))
        .query_async::<()>(&mut link)
        .await
        .unwrap();
    let report = keep::check(app, true).await.unwrap();
    assert!(report.clean && report.problems[0].what.contains("does not know its plan"), "{report:?}");
    let keys: Vec<String> = ["meta", "quota_inputs"].map(|key| app.keys.anchor(&provider) + key).to_vec();
    redis::cmd("DEL").arg(keys).query_async::<()>(&mut link).await.unwrap();
    assert_eq!(keep::rebuild_if_lost(app, &provider).await.unwrap(), keep::Rebuild::Done(2));
    assert_eq!(known().await, Some(update(0, "free", 2, 0).inputs));
}

#[tokio::test]
async fn forecast_names_the_plan_that_limits_a_job() {
    let (test, _, connection) = planned(3, "free").await;
    let provider = test.app.registry.get("planned").unwrap();
    let first_reason = async || {
        let found = forecast(&test.app, provider).await.unwrap();
        found.jobs().map(|(demand, job)| found.why(demand, job).unwrap_or_default()).next().unwrap()
    };
    // 60 + 3 × 60 an hour for three devices: each every 45 s, and 2 % less.
    let why = first_reason().await;
    assert!(why.starts_with("asked 1s, gets 45s: quota hour"), "{why}");
    assert!(why.ends_with("allows 240 in 1h on plan free"), "{why}");
    sqlx::query("UPDATE connections SET params = '{\"plan\": \"paid\"}'")
        .execute(&test.app.pool)
        .await
        .unwrap();
    let why = first_reason().await;
    assert!(why.starts_with("asked 1s, gets 14s") && why.ends_with("allows 780 in 1h on plan paid"), "{why}");
    let opened = connections::open(&test.app.pool, &test.app.sealer, &[connection.0], true).await.unwrap();
    let Connection { params, devices, .. } = &opened[0];
    assert_eq!(Provider::quota_inputs(provider, params, *devices), update(0, "paid", 3, 0).inputs);
}
