//! Why a job has not run yet, as the schedule's scripts leave it.

use crate::support::TestApp;
use paceline::explain;
use paceline::keep;
use paceline::preference::jobs;
use paceline::take::{Grant, Settlement, Taken, Taker, Verdict};
use paceline::words::{DeviceId, End, Hold, Job, Scope, UnixMs};

/// A provider of these quotas whose schedule a keeper has built.
struct Rig {
    t: TestApp,
    taker: Taker,
    jobs: Vec<Job>,
}

impl Rig {
    /// With so many devices, each of which was asked to be refreshed now.
    async fn refreshed(quotas: &str, devices: usize) -> Self {
        let text = format!(
            "title = \"Told\"\n[http]\nbase_url = \"http://127.0.0.1:9\"\n{quotas}\n[resource.state]\n\
             interval_min = \"1s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\n"
        );
        // No first run comes by itself while a test lasts.
        let spread = "1h".parse().unwrap();
        let t =
            TestApp::with_settings(&[("explained", &text)], |s| s.schedule.first_run_spread = spread).await;
        let connection = t.connect("explained", "main", "http://cloud.invalid").await;
        t.add_devices("explained", connection, devices, "1h").await;
        let name = "explained".parse().unwrap();
        keep::rebuild_if_lost(&t.app, &name).await.unwrap();
        let ids = sqlx::query_scalar("SELECT job_id FROM jobs ORDER BY job_id").fetch_all(&t.app.pool).await;
        let mut stored = jobs::by_id(&t.app.pool, &ids.unwrap()).await.unwrap();
        stored.sort_by_key(|stored| stored.job.id);
        let jobs: Vec<_> = stored.into_iter().map(|stored| stored.job).collect();
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        t.app.queue.refresh(&name, &ids).await.unwrap();
        let provider = t.app.registry.get("explained").unwrap();
        let taker = Taker::new(t.app.redis.clone(), provider, &t.app.taker_settings());
        Self { t, taker, jobs }
    }

    async fn take(&self) -> Taken {
        self.taker.take(10, None).await.unwrap()
    }

    /// Those of the jobs that are in these grants, and those that are not.
    fn split(&self, grants: &[Grant]) -> (Vec<&Job>, Vec<&Job>) {
        let of = |job: &&Job| grants.iter().any(|grant| grant.jobs.iter().any(|j| j.id == job.id));
        self.jobs.iter().partition(of)
    }

    async fn sentence(&self, device: DeviceId) -> String {
        let provider = self.t.app.registry.get("explained").unwrap();
        let mut jobs = explain::device(&self.t.app, self.t.tenant, device, provider, None).await.unwrap();
        assert_eq!(jobs.len(), 1);
        jobs.remove(0).sentence
    }
}

fn quota(name: &str, rest: &str) -> String {
    format!("[[quota]]\nname = \"{name}\"\nscope = \"connection\"\namount = 1\n{rest}\n")
}

#[tokio::test]
async fn spent_quota_says_its_holder_and_when_it_opens() {
    let rig = Rig::refreshed(&quota("hour", "window = \"1h\""), 2).await;
    let ahead = "refreshed ahead of its time; ";
    for job in &rig.jobs {
        assert!(rig.sentence(job.device).await.starts_with(ahead), "nobody has looked yet");
    }
    let taken = rig.take().await;
    let (served, waiting) = rig.split(&taken.grants);
    assert_eq!((served.len(), waiting.len()), (1, 1));
    let plan = "; asked 1h, gets 2h2m: quota hour of connection 1 allows 1 in 1h";
    assert_eq!(rig.sentence(served[0].device).await, format!("being fetched{plan}"));
    let sentence = rig.sentence(waiting[0].device).await;
    assert_eq!(sentence, format!("{ahead}quota `hour` of connection 1 allows it in 61 min{plan}"));
}

#[tokio::test]
async fn concurrent_quota_opens_when_a_call_ends() {
    let rig = Rig::refreshed(&quota("at-once", "kind = \"concurrent\""), 2).await;
    let taken = rig.take().await;
    let (_, waiting) = rig.split(&taken.grants);
    let sentence = rig.sentence(waiting[0].device).await;
    assert_eq!(
        sentence,
        "refreshed ahead of its time; quota `at-once` of connection 1 allows it when a call ends"
    );
}

#[tokio::test]
async fn hold_says_its_reason_and_end() {
    for scope in [Scope::Connection, Scope::Device, Scope::App] {
        let rig = Rig::refreshed("", 2).await;
        let taken = rig.taker.take(1, None).await.unwrap();
        let (refused, _) = rig.split(&taken.grants);
        let until = taken.now.plus_ms(172_800_000);
        let hold = Hold { scope, until, reason: "HTTP 429".to_owned(), refusal: None };
        let device = (scope == Scope::Device).then_some(refused[0].device);
        let settlement = Settlement {
            end: End::Throttled,
            jobs: vec![(refused[0].id, Verdict::Again)],
            holds: vec![(hold, device)],
            ..Settlement::unsent(taken.grants[0].call)
        };
        rig.taker.settle(&[settlement], None).await.unwrap();
        rig.take().await;
        let sentence = rig.sentence(refused[0].device).await;
        let day = UnixMs(until.0).to_datetime().format("%Y-%m-%d");
        assert!(sentence.contains(&format!("held: HTTP 429, until {day}")), "{scope:?}: {sentence}");
    }
}
