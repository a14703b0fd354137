//! A run: time goes from event to event, and everybody does one step at a time.

use crate::chance::Chance;
use crate::far::Far;
use crate::holds::Holds;
use crate::limits::{Fault, Limits};
use crate::model::{At, Model};
use crate::quota_inputs::Accounts;
use crate::referee::{Call, Referee};
use crate::rig::{Change, Rig, own_keys};
use crate::scenario::{Scenario, T0};
use paceline::schedule::JobLocation;
use paceline::take::{Grant, Settlement};
use paceline::words::{End, JobId, Scope};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

/// A step of somebody. Workers' steps name the life they belong to: who died takes none of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Take(usize, u32),
    Send(i64),
    /// At the cloud.
    Answer(i64),
    /// The answer, or that there will be none, at the worker.
    Land(i64),
    Flush(usize, u32),
    /// A settlement arrives once more.
    Repeat(usize),
    Owner,
    Wipe,
}

#[derive(Default)]
pub struct Worker {
    pub life: u32,
    pub paused_until: i64,
    pub calls: BTreeSet<i64>,
    pub ended: Vec<Settlement>,
    pub flushing: bool,
    /// It would have taken more, had it had the room.
    pub hungry: bool,
    /// The one instant at which it means to look again.
    pub next_take: Option<i64>,
}

/// A call that was granted.
pub struct Out {
    pub worker: usize,
    pub life: u32,
    pub grant: Grant,
    /// Until when it may be sent.
    pub latest: f64,
    /// When it is meant to be sent, when nobody pauses.
    pub send_at: f64,
    pub call: Call,
    pub sent: Option<f64>,
    /// When the cloud answers.
    pub answered: f64,
    pub end: End,
    /// Whom the cloud told to wait, and for how long, ms.
    pub hold: Option<(Scope, i64)>,
}

/// The cloud refuses an account's calls for a while.
pub struct Refusal {
    pub until: f64,
    pub scope: Scope,
}

pub struct World {
    pub limits: Limits,
    pub scenario: Scenario,
    pub rig: Rig,
    pub chance: Chance,
    /// How much room workers have.
    pub room: Chance,
    pub model: Model,
    pub referee: Referee,
    pub now: i64,
    pub workers: Vec<Worker>,
    pub outs: HashMap<i64, Out>,
    pub repeats: Vec<Vec<Settlement>>,
    pub holds: Holds,
    /// Likewise as the cloud has it, by account.
    pub refusals: HashMap<String, Refusal>,
    pub wanted: BTreeSet<i64>,
    pub epoch: i64,
    /// On what accounts accounts are.
    pub accounts: Accounts,
    /// What is agreed on because workers are far.
    pub far: Far,
    pub fence: i64,
    /// Faults are over: what is left must come right by itself.
    pub quiet: bool,
    pub wrong: Vec<String>,
    /// Looks where all jobs are after every step, to find out which broke something.
    looks_closely: bool,
    pub has_twin: bool,
    ids: Vec<JobId>,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    count: u64,
    log: VecDeque<String>,
}

/// What became of a run.
#[derive(Debug)]
pub struct Run {
    pub wrong: Vec<String>,
    pub log: Vec<String>,
    pub text: String,
    pub calls: u64,
    pub fullest: f64,
    pub simulated_ms: i64,
}

/// On which scripts, and with which eyes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// What is broken.
    pub changes: &'a [Change],
    /// Without the twin of each take: the cloud's count and the model alone must see what is wrong.
    pub without_twin: bool,
}

/// Runs what these limits give.
pub async fn run(limits: &Limits, setup: Setup<'_>) -> Run {
    let mut world = World::new(limits, setup).await;
    world.go().await;
    if std::env::var_os("SIM_KEEP").is_none() {
        world.rig.wipe().await;
    }
    Run {
        wrong: world.wrong,
        log: world.log.into(),
        text: world.scenario.provider.text.clone(),
        calls: world.referee.counted,
        fullest: world.referee.fullest,
        simulated_ms: world.now - T0,
    }
}

impl World {
    async fn new(limits: &Limits, setup: Setup<'_>) -> Self {
        let scenario = Scenario::of(limits, own_keys());
        let rig = Rig::new(&scenario.provider, &scenario.settings, setup.changes).await;
        let workers = (0..scenario.workers).map(|_| Worker::default()).collect();
        Self {
            limits: limits.clone(),
            chance: Chance::new(limits.seed, 1),
            room: Chance::new(limits.seed, 6_000),
            model: Model::new(&scenario),
            referee: Referee::new(
                &scenario.provider,
                scenario.skew_ms,
                scenario.late_ms,
                limits.has(Fault::Far),
            ),
            now: T0,
            workers,
            outs: HashMap::new(),
            repeats: Vec::new(),
            holds: Holds::new(scenario.settings.hold),
            refusals: HashMap::new(),
            wanted: scenario.entries.iter().map(|e| e.job.id.0).collect(),
            epoch: 0,
            accounts: Accounts::default(),
            far: Far::default(),
            fence: 0,
            quiet: false,
            wrong: Vec::new(),
            has_twin: !setup.without_twin,
            looks_closely: std::env::var_os("SIM_SEED").is_some(),
            ids: scenario.entries.iter().map(|e| e.job.id).collect(),
            events: BinaryHeap::new(),
            count: 0,
            log: VecDeque::new(),
            rig,
            scenario,
        }
    }

    async fn go(&mut self) {
        self.set_first_quota_inputs().await;
        self.rig.revive(false, 0, self.now - 1).await;
        self.put_all().await;
        self.wake_all();
        if [Fault::Owner, Fault::Refresh, Fault::QuotaInputs].into_iter().any(|fault| self.limits.has(fault))
        {
            self.after(500, Event::Owner);
        }
        if self.limits.has(Fault::Wipe) && self.chance.hits(0.4) {
            let wait = self.chance.within(2_000, 60_000);
            self.after(wait, Event::Wipe);
        }
        for _ in 0..self.limits.steps {
            if !self.step().await {
                break;
            }
        }
        self.calm_down().await;
    }

    /// One event, and a look at where all jobs are. False: something is wrong, or nothing will ever happen again.
    async fn step(&mut self) -> bool {
        let Some(Reverse((at_us, _, event))) = self.events.pop() else {
            self.wrong.push("wake: nothing is left to happen".to_owned());
            return false;
        };
        self.now = self.now.max(at_us / 1_000);
        match event {
            Event::Take(worker, life) => self.take_step(worker, life).await,
            Event::Send(call) => self.send_step(call, at_us),
            Event::Answer(call) => self.answer_step(call, at_us),
            Event::Land(call) => self.land_step(call),
            Event::Flush(worker, life) => self.flush_step(worker, life).await,
            Event::Repeat(which) => self.repeat_step(which).await,
            Event::Owner => self.owner_step().await,
            Event::Wipe => self.wipe_step().await,
        }
        if self.wrong.is_empty() && (self.chance.hits(0.25) || self.looks_closely) {
            let locations = self.locations().await;
            self.wrong.extend(self.model.check(&self.ids, &locations, self.now));
        }
        self.wrong.is_empty()
    }

    /// Ends the faults. From now on every job must run, with workers waking only when scripts tell them to.
    async fn calm_down(&mut self) {
        if !self.wrong.is_empty() {
            return;
        }
        self.quiet = true;
        self.say("the faults end".to_owned());
        for worker in &mut self.workers {
            worker.paused_until = 0;
        }
        self.wake_all();
        let (started, bound) = (self.now, self.patience_ms());
        while self.waits_since(started).is_some() {
            if !self.step().await {
                return;
            }
            if let Some(id) = self.waits_since(started).filter(|_| self.now > started + bound) {
                let location = self.rig.locate(&[JobId(id)]).await;
                let what = format!("starved: job {id} was not sent for {bound} ms: {location:?}");
                self.wrong.push(what);
                return;
            }
        }
        let locations = self.locations().await;
        self.wrong.extend(self.model.check(&self.ids, &locations, self.now));
    }

    fn waits_since(&self, started: i64) -> Option<i64> {
        let known = |job: &crate::model::Known| job.at != At::Nowhere && !job.dropped && job.sent <= started;
        self.model.jobs.iter().find(|(_, job)| known(job)).map(|(id, _)| *id)
    }

    pub async fn locations(&self) -> Vec<JobLocation> {
        self.rig.locate(&self.ids).await
    }

    pub fn ids(&self) -> &[JobId] {
        &self.ids
    }

    pub fn has(&self, fault: Fault) -> bool {
        !self.quiet && self.limits.has(fault)
    }

    pub fn say(&mut self, what: String) {
        if self.log.len() == 5000 {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>9} {what}", self.now - T0));
    }

    pub fn after(&mut self, ms: i64, event: Event) {
        self.at_us((self.now + ms) * 1_000, event);
    }

    pub fn at_us(&mut self, at_us: i64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at_us, self.count, event)));
    }

    /// What a publication does: everybody looks again.
    pub fn wake_all(&mut self) {
        for worker in 0..self.workers.len() {
            self.look_again(worker, 0);
        }
    }

    /// A worker means to look again in so many ms, unless it means to before.
    pub fn look_again(&mut self, worker: usize, ms: i64) {
        let at = self.now + ms;
        if self.workers[worker].next_take.is_none_or(|next| at < next) {
            self.workers[worker].next_take = Some(at);
            let life = self.workers[worker].life;
            self.after(ms, Event::Take(worker, life));
        }
    }
}
