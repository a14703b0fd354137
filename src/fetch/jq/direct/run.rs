//! Runs a program directly, with the interpreter's order of evaluation and of errors.

use super::super::bounds::{Bounds, factor};
use super::{Direct, Part, Single, Stop};
use jaq_core::ValT;
use jaq_core::ops::Math;
use jaq_core::path::Opt;
use jaq_json::{Map, Val};
use std::borrow::Cow;
use std::sync::Arc;

/// At most one value: borrowed from the input, unless a new one was owned.
type Found<'v> = Result<Option<Cow<'v, Val>>, Stop>;

type Out<'o> = &'o mut dyn FnMut(Cow<'_, Val>) -> Result<(), Stop>;

impl Direct {
    /// Passes on each output for a value.
    pub(super) fn each(&self, value: &Val, bounds: &Bounds, out: Out) -> Result<(), Stop> {
        self.each_of(Cow::Borrowed(value), bounds, out)
    }

    fn each_of(&self, value: Cow<'_, Val>, bounds: &Bounds, out: Out) -> Result<(), Stop> {
        match self {
            Self::Single(single) => match single.of(value, bounds)? {
                Some(found) => out(found),
                None => Ok(()),
            },
            Self::Pipe(left, right) => {
                left.each_of(value, bounds, &mut |found| right.each_of(found, bounds, out))
            }
            Self::Comma(left, right) => {
                left.each(&value, bounds, out)?;
                step(bounds)?;
                right.each_of(value, bounds, out)
            }
            Self::Path(of, parts) => of.each_of(value, bounds, &mut |found| {
                along_path(parts, &found, &mut |end| {
                    step(bounds)?;
                    out(end)
                })
            }),
            Self::If(cases, otherwise) => {
                for (test, then) in cases {
                    match test.one(&value, bounds)? {
                        None => return Ok(()),
                        Some(found) if found.as_bool() => return then.each_of(value, bounds, out),
                        Some(_) => {}
                    }
                }
                otherwise.each_of(value, bounds, out)
            }
        }
    }
}

fn step(bounds: &Bounds) -> Result<(), Stop> {
    bounds.step().map_err(Stop::Bound)
}

fn along_path(parts: &[Part], value: &Val, out: Out) -> Result<(), Stop> {
    match parts {
        [] => out(Cow::Borrowed(value)),
        [Part::Index(key, opt), rest @ ..] => match index(value, key) {
            Ok(found) => along_path(rest, &found, out),
            Err(_) if is_optional(*opt) => Ok(()),
            Err(error) => Err(Stop::Error(error)),
        },
        [Part::Each(opt), rest @ ..] => match value {
            Val::Arr(all) => all.iter().try_for_each(|one| along_path(rest, one, out)),
            Val::Obj(all) => all.values().try_for_each(|one| along_path(rest, one, out)),
            // Produces the interpreter's error.
            other => other.clone().values().try_for_each(|found| match found {
                Ok(found) => along_path(rest, &found, out),
                Err(_) if is_optional(*opt) => Ok(()),
                Err(error) => Err(Stop::Error(error)),
            }),
        },
    }
}

fn is_optional(opt: Opt) -> bool {
    matches!(opt, Opt::Optional)
}

fn index<'v>(value: &'v Val, key: &Val) -> Result<Cow<'v, Val>, jaq_json::Error> {
    match value {
        Val::Obj(all) => Ok(all.get(key).map_or(Cow::Owned(Val::Null), Cow::Borrowed)),
        Val::Null => Ok(Cow::Owned(Val::Null)),
        other => other.clone().index(key).map(Cow::Owned),
    }
}

impl Single {
    /// The output for a value that may be consumed.
    fn of<'v>(&'v self, value: Cow<'v, Val>, bounds: &Bounds) -> Found<'v> {
        match (self, value) {
            (_, Cow::Borrowed(value)) => self.one(value, bounds),
            (Self::Id, owned) => Ok(Some(owned)),
            (Self::Pipe(left, right), owned) => match left.of(owned, bounds)? {
                Some(found) => right.of(found, bounds),
                None => Ok(None),
            },
            (Self::KeepEntries(test), Cow::Owned(value)) => keep_entries(test, value, bounds).map(owned),
            (_, Cow::Owned(value)) => {
                Ok(self.one(&value, bounds)?.map(|found| Cow::Owned(found.into_owned())))
            }
        }
    }

    /// The output for a value.
    fn one<'v>(&'v self, value: &'v Val, bounds: &Bounds) -> Found<'v> {
        match self {
            Self::Id => Ok(Some(Cow::Borrowed(value))),
            Self::Const(constant) => Ok(Some(Cow::Borrowed(constant))),
            Self::Empty => Ok(None),
            Self::Path(of, parts) => match of.one(value, bounds)? {
                Some(from) => follow(from, parts),
                None => Ok(None),
            },
            Self::Arr(of) => {
                let mut all = Vec::new();
                of.each(value, bounds, &mut |found| {
                    all.push(found.into_owned());
                    Ok(())
                })?;
                Ok(owned(all.into_iter().collect()))
            }
            Self::Obj(entries) => object(entries, value, bounds),
            Self::Neg(of) => match of.one(value, bounds)? {
                Some(found) => (-found.into_owned()).map(owned).map_err(Stop::Error),
                None => Ok(None),
            },
            Self::Math(left, op, right) => {
                match both(left, right, value, bounds, |found| {
                    if *op == Math::Mul { checked_factor(found) } else { Ok(found) }
                })? {
                    Some((left, right)) => {
                        op.run(left.into_owned(), right.into_owned()).map(owned).map_err(Stop::Error)
                    }
                    None => Ok(None),
                }
            }
            Self::Cmp(left, op, right) => {
                let both = both(left, right, value, bounds, Ok)?;
                Ok(both.and_then(|(left, right)| owned(Val::Bool(op.run(&*left, &*right)))))
            }
            Self::Logic(left, stop, right) => match left.one(value, bounds)? {
                Some(found) if found.as_bool() == *stop => Ok(owned(Val::Bool(*stop))),
                Some(_) => Ok(right.one(value, bounds)?.and_then(|found| owned(Val::Bool(found.as_bool())))),
                None => Ok(None),
            },
            Self::Alt(left, right) => match left.one(value, bounds)? {
                Some(found) if found.as_bool() => Ok(Some(found)),
                _ => right.one(value, bounds),
            },
            Self::If(cases, otherwise) => {
                for (test, then) in cases {
                    match test.one(value, bounds)? {
                        None => return Ok(None),
                        Some(found) if found.as_bool() => return then.one(value, bounds),
                        Some(_) => {}
                    }
                }
                otherwise.one(value, bounds)
            }
            Self::Try(of) => match of.one(value, bounds) {
                Err(Stop::Error(_)) => Ok(None),
                found => found,
            },
            Self::Pipe(left, right) => match left.one(value, bounds)? {
                Some(found) => right.of(found, bounds),
                None => Ok(None),
            },
            Self::Select(test) => {
                let found = test.one(value, bounds)?;
                Ok(found.filter(|found| found.as_bool()).map(|_| Cow::Borrowed(value)))
            }
            Self::Not => Ok(owned(Val::Bool(!value.as_bool()))),
            Self::ToString => Ok(owned(value.clone().into_string())),
            Self::KeepEntries(test) => keep_entries(test, value.clone(), bounds).map(owned),
        }
    }
}

fn owned<'v>(value: Val) -> Option<Cow<'v, Val>> {
    Some(Cow::Owned(value))
}

fn follow<'v>(from: Cow<'v, Val>, parts: &[(Val, Opt)]) -> Found<'v> {
    let mut at = from;
    for (key, opt) in parts {
        let next = match &at {
            Cow::Borrowed(value) => index(value, key),
            Cow::Owned(value) => index(value, key).map(|found| Cow::Owned(found.into_owned())),
        };
        at = match next {
            Ok(next) => next,
            Err(_) if is_optional(*opt) => return Ok(None),
            Err(error) => return Err(Stop::Error(error)),
        };
    }
    Ok(Some(at))
}

type Both<'v> = Option<(Cow<'v, Val>, Cow<'v, Val>)>;

/// Evaluates both sides. As in the interpreter, which pairs their outputs, an error of one side counts only if the
/// other has an output.
fn both<'v>(
    left: &'v Single,
    right: &'v Single,
    value: &'v Val,
    bounds: &Bounds,
    check: impl Fn(Cow<'v, Val>) -> Result<Cow<'v, Val>, Stop>,
) -> Result<Both<'v>, Stop> {
    let one = |of: &'v Single| match of.one(value, bounds) {
        Ok(Some(found)) => check(found).map(Some),
        found => found,
    };
    let left = match one(left) {
        Ok(None) => return Ok(None),
        left => left,
    };
    let right = match one(right) {
        Ok(None) => return Ok(None),
        right => right,
    };
    Ok(left?.zip(right?))
}

fn checked_factor(found: Cow<'_, Val>) -> Result<Cow<'_, Val>, Stop> {
    match *found {
        Val::TStr(_) | Val::BStr(_) => factor(found.into_owned()).map(Cow::Owned).map_err(Stop::Error),
        _ => Ok(found),
    }
}

/// Builds an object. As in the interpreter, an entry without output makes the whole object empty.
fn object<'v>(entries: &'v [(Val, Single)], value: &'v Val, bounds: &Bounds) -> Found<'v> {
    let mut all = Map::with_capacity_and_hasher(entries.len(), Default::default());
    let mut failed = None;
    for (key, of) in entries {
        match of.one(value, bounds) {
            Ok(Some(found)) => drop(all.insert(key.clone(), found.into_owned())),
            Ok(None) => return Ok(None),
            Err(Stop::Error(error)) => drop(failed.get_or_insert(error)),
            Err(stop) => return Err(stop),
        }
    }
    match failed {
        Some(error) => Err(Stop::Error(error)),
        None => Ok(owned(Val::obj(all))),
    }
}

/// The entries whose values pass the test.
fn keep_entries(test: &Single, value: Val, bounds: &Bounds) -> Result<Val, Stop> {
    let passes = |value: &Val| {
        step(bounds)?;
        Ok(test.one(value, bounds)?.is_some_and(|found| found.as_bool()))
    };
    if let Val::Obj(mut all) = value {
        let mut stop = None;
        Arc::make_mut(&mut all).retain(|_, value| {
            let passed = stop.is_none().then(|| passes(value));
            match passed {
                Some(Ok(passed)) => passed,
                Some(Err(reason)) => {
                    stop = Some(reason);
                    false
                }
                None => false,
            }
        });
        return stop.map_or(Ok(Val::Obj(all)), Err);
    }
    let mut all = Map::default();
    for entry in value.key_values() {
        let (key, value) = entry.map_err(Stop::Error)?;
        if passes(&value)? {
            all.insert(key, value);
        }
    }
    Ok(Val::obj(all))
}
