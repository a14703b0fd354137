//! What a run is made from: its seed, and how much of what the seed gives is used. A failure is shrunk by taking away.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What may go wrong, or at least otherwise, in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A worker dies between two steps; what it held it holds no more, and another takes its place.
    Crash,
    /// A worker stands still, now and then for longer than a lease.
    Pause,
    /// A settlement arrives twice.
    Twice,
    /// Calls are sent as late as is allowed.
    Late,
    /// Workers are far from the servers: their calls are granted ahead, and may be sent later still.
    Far,
    /// A worker hands calls back before their instant.
    Back,
    /// Owners change their minds: interval, priority, off and on.
    Owner,
    /// Owners ask for "refresh now".
    Refresh,
    /// Answers have records of devices that were not asked for.
    Unsolicited,
    /// The cloud answers with errors, and devices go missing.
    Error,
    /// The cloud says "not now", with a hold.
    Throttle,
    /// Answers get lost.
    Lost,
    /// Redis forgets everything, and the schedule is rebuilt.
    Wipe,
    /// Accounts move to other plans, and have more devices or fewer.
    QuotaInputs,
    /// Workers have room for a few calls of each account, as while its calls hang. Not part of every run.
    Room,
}

impl Fault {
    /// Of every run.
    pub const ALL: [Self; 14] = [
        Self::Crash,
        Self::Pause,
        Self::Twice,
        Self::Late,
        Self::Far,
        Self::Back,
        Self::Owner,
        Self::Refresh,
        Self::Unsolicited,
        Self::Error,
        Self::Throttle,
        Self::Lost,
        Self::Wipe,
        Self::QuotaInputs,
    ];
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub seed: u64,
    /// How many events are let happen before the faults end.
    pub steps: u32,
    pub jobs: usize,
    pub connections: usize,
    /// Which of the seed's quotas are declared, by number.
    pub quotas: Vec<usize>,
    pub faults: BTreeSet<Fault>,
    /// Whether amounts may depend on accounts' plans and devices.
    #[serde(default)]
    pub plans: bool,
}

/// The most quotas that a seed gives.
pub const QUOTAS: usize = 6;

impl Limits {
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            steps: 500,
            jobs: 36,
            connections: 5,
            quotas: (0..QUOTAS).collect(),
            faults: Fault::ALL.into(),
            plans: true,
        }
    }

    /// The same without quotas that depend on quota inputs.
    pub fn without_quota_inputs(mut self) -> Self {
        self.plans = false;
        self.faults.remove(&Fault::QuotaInputs);
        self
    }

    /// The same with workers that have little room for each account.
    pub fn with_room(mut self) -> Self {
        self.faults.insert(Fault::Room);
        self
    }

    /// The same with workers that are near.
    pub fn without_far(mut self) -> Self {
        self.faults.remove(&Fault::Far);
        self
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Smaller ones, the boldest first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        if self.plans {
            found.push(Self { plans: false, ..self.clone() });
        }
        let halves =
            |n: usize| [n / 2, n - n / 4, n.saturating_sub(1)].into_iter().filter(move |m| *m < n && *m > 0);
        found.extend(self.faults.iter().map(|fault| {
            let mut less = self.clone();
            less.faults.remove(fault);
            less
        }));
        found.extend((0..self.quotas.len()).map(|at| {
            let mut less = self.clone();
            less.quotas.remove(at);
            less
        }));
        found.extend(halves(self.jobs).map(|jobs| Self { jobs, ..self.clone() }));
        found.extend(halves(self.connections).map(|connections| Self { connections, ..self.clone() }));
        found.extend(halves(self.steps as usize).map(|steps| Self { steps: steps as u32, ..self.clone() }));
        found
    }

    pub fn toml(&self) -> String {
        toml::to_string(self).expect("numbers and words")
    }
}

/// The seeds that are kept in a folder, by the names of their files; `SIM_FILE` names one. None if it is not there.
pub fn kept(folder: &str) -> Vec<(String, Limits)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|f| f.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    if let Some(only) = std::env::var_os("SIM_FILE") {
        files.retain(|path| path.file_name() == Path::new(&only).file_name());
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a seed");
        let limits = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), limits)
    };
    files.into_iter().map(read).collect()
}
