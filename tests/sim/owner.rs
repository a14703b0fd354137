//! What owners and operators do: change their minds, ask for "refresh now", lose a Redis.

use crate::far::Far;
use crate::limits::Fault;
use crate::model::At;
use crate::scenario::{interval, name};
use crate::world::{Event, World};
use paceline::pace::plan::{Demand, plan};
use paceline::provider::{Limit, QuotaKind, Unit, Window};
use paceline::schedule::{Entry, offset_ms};
use paceline::words::{JobId, Priority, UnixMs};

/// As `schedule.first_run_spread`.
const SPREAD_MS: i64 = 10_000;

impl World {
    /// Puts all jobs that are wanted, as a rebuild does.
    pub async fn put_all(&mut self) {
        let ids: Vec<_> = self.wanted.iter().copied().collect();
        let mut entries = Vec::new();
        for id in ids {
            let job = &self.model.jobs[&id];
            let last_run = if job.last > 0 { Some(UnixMs(job.last)) } else { job.entry.last_run };
            let entry = Entry { last_run, ..job.entry.clone() };
            self.model.put(&entry, false, self.now, SPREAD_MS);
            entries.push(entry);
        }
        self.rig.put(&entries, self.now).await;
    }

    pub async fn owner_step(&mut self) {
        if self.quiet {
            return;
        }
        let wait = self.chance.within(50, 4_000);
        self.after(wait, Event::Owner);
        if self.limits.plans && self.has(Fault::QuotaInputs) && self.chance.hits(0.3) {
            self.terms_step().await;
            return self.wake_all();
        }
        let which = self.chance.within(0, self.ids().len() as i64 - 1) as usize;
        let job = self.ids()[which];
        if self.has(Fault::Refresh) && (!self.has(Fault::Owner) || self.chance.hits(0.4)) {
            self.refresh(job).await;
        } else if self.has(Fault::Owner) {
            match self.chance.within(0, 9) {
                0..3 => self.pause(job).await,
                _ => self.change(job).await,
            }
        }
        self.wake_all();
    }

    async fn in_due(&self, job: JobId) -> bool {
        self.rig.locate(&[job]).await[0].due
    }

    async fn refresh(&mut self, job: JobId) {
        let in_due = self.in_due(job).await;
        let expected = self.model.refresh(job, in_due);
        let answers = self.rig.queue.refresh(&name(), &[job]).await.expect("refresh");
        self.say(format!("refresh {job}: {answers:?}"));
        if answers.as_slice() != std::slice::from_ref(&expected) {
            self.wrong.push(format!("refresh: job {job} is {answers:?}, should be {expected:?}"));
        }
    }

    /// Off the schedule; or a late word of an older version, which must change nothing.
    async fn pause(&mut self, job: JobId) {
        let version = self.model.jobs[&job.0].entry.job.version;
        let decided = if self.chance.hits(0.3) { version - 1 } else { version };
        self.say(format!("drop {job} at version {decided} of {version}"));
        if decided == version {
            self.wanted.remove(&job.0);
        }
        self.model.drop(job, decided);
        self.rig.queue.drop(&name(), &[(job, decided)]).await.expect("drop");
    }

    /// A new interval or priority, which also brings back what was off.
    async fn change(&mut self, id: JobId) {
        let in_due = self.in_due(id).await;
        let known = &self.model.jobs[&id.0];
        let (mut entry, last) = (known.entry.clone(), known.last);
        entry.job.version += 1;
        if self.chance.hits(0.6) {
            let ms = entry.job.interval.as_ms() as i64;
            let ms = self.chance.pick(&[ms / 2, ms * 2, ms * 3 / 2]).clamp(500, 3_600_000);
            entry.job.interval = interval(ms as u64);
        }
        entry.job.priority = self.chance.pick(&Priority::ALL);
        let resource = self.scenario.provider.resource(entry.job.resource.as_str());
        let (unit, batch_max) = resource.map_or((Unit::Device, 1), |r| (r.unit, r.places()));
        entry.offset_ms = offset_ms(&entry.job, unit, batch_max);
        entry.last_run = (last > 0).then_some(UnixMs(last));
        self.say(format!(
            "put {id}: {} {} version {}",
            entry.job.interval, entry.job.priority, entry.job.version
        ));
        self.wanted.insert(id.0);
        self.model.put(&entry, in_due, self.now, SPREAD_MS);
        self.rig.put(&[entry], self.now).await;
    }

    /// Redis is lost, and the schedule is built again from what is known elsewhere.
    pub async fn wipe_step(&mut self) {
        if self.quiet {
            return;
        }
        self.say("Redis forgets everything".to_owned());
        self.rig.wipe().await;
        self.model.wipe();
        // Holds are not kept elsewhere.
        self.holds.clear();
        self.put_all_quota_inputs().await;
        self.rig.revive(true, self.fence, self.now).await;
        self.epoch = self.now;
        self.far = Far::default();
        self.put_all().await;
        self.wake_all();
    }

    /// How long the last of the jobs may have to wait once nothing goes wrong any more, ms.
    pub fn patience_ms(&self) -> i64 {
        let scenario = &self.scenario;
        let known = self.model.jobs.values().filter(|job| job.at != At::Nowhere);
        let demands: Vec<_> = known.map(|job| demand(&job.entry)).collect();
        let inputs =
            |entry: &Entry| (entry.job.connection, self.accounts.now(&entry.job.connection.to_string()));
        let inputs = scenario.entries.iter().map(inputs).collect();
        let plan = plan(&scenario.provider, &demands, &inputs, scenario.settings.k, &scenario.settings.base);
        let slowest = plan.jobs.iter().filter_map(|job| job.effective_ms).fold(0.0, f64::max);
        let held = self.holds.longest_ms(self.now);
        let windows: i64 = scenario
            .provider
            .quotas()
            .map(|quota| match (quota.kind, quota.window) {
                (QuotaKind::Sliding, _) => match quota.limits().0 {
                    Limit::Sliding { emission_ms, burst } => (emission_ms * f64::from(burst)) as i64,
                    _ => 0,
                },
                (_, Some(Window::Length(length))) => length.as_ms() as i64,
                (_, Some(Window::Calendar(part))) => part.least_ms() as i64,
                (_, None) => 0,
            })
            .sum();
        let put_off = self.model.jobs.values().map(|job| job.due - self.now).fold(0, i64::max);
        // A felt rate may be at its floor, and calls in flight set a pace that no plan knows.
        put_off + 4 * slowest as i64 + held + 2 * windows + 3 * scenario.lease_ms() + 30_000
    }
}

pub fn demand(entry: &Entry) -> Demand {
    let job = &entry.job;
    Demand {
        job: job.id,
        tenant: job.tenant,
        weight: entry.weight.into(),
        connection: job.connection,
        group: job.group.clone(),
        device: job.device,
        resource: job.resource.clone(),
        interval: job.interval,
        priority: job.priority,
    }
}
