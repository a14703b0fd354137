//! Runs simple jq programs directly: paths, objects, comparisons and similar, which most definitions consist of. Only
//! the traversal is our own; operations on values are the interpreter's, so that both give the same results (tested in
//! `same.rs`). Other programs are run by the interpreter.
//!
//! Such a program cannot call itself, and its values are nested no deeper than its text, so it needs no extra stack.

mod compile;
mod run;
#[cfg(test)]
mod same;

use super::bounds::Bounds;
use jaq_core::load::parse::Term;
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::Opt;
use jaq_json::Val;

/// A term with any number of outputs.
#[derive(Debug)]
pub(crate) enum Direct {
    Single(Single),
    Pipe(Box<Direct>, Box<Direct>),
    Comma(Box<Direct>, Box<Direct>),
    /// A path that contains `[]`.
    Path(Box<Direct>, Vec<Part>),
    /// Conditions with their branches, and the else branch.
    If(Vec<(Single, Direct)>, Box<Direct>),
}

/// A term with at most one output.
#[derive(Debug)]
pub(crate) enum Single {
    Id,
    Const(Val),
    Empty,
    Path(Box<Single>, Vec<(Val, Opt)>),
    Arr(Box<Direct>),
    Obj(Vec<(Val, Single)>),
    Neg(Box<Single>),
    Math(Box<Single>, Math, Box<Single>),
    Cmp(Box<Single>, Cmp, Box<Single>),
    /// `or` (stops at true) and `and` (stops at false).
    Logic(Box<Single>, bool, Box<Single>),
    Alt(Box<Single>, Box<Single>),
    If(Vec<(Single, Single)>, Box<Single>),
    Try(Box<Single>),
    Pipe(Box<Single>, Box<Single>),
    Select(Box<Single>),
    Not,
    ToString,
    /// `with_entries(select(…))`, where `…` uses only `.value`, which it gets as its input.
    KeepEntries(Box<Single>),
}

#[derive(Debug)]
pub(crate) enum Part {
    Index(Val, Opt),
    Each(Opt),
}

/// Why a run ended early.
enum Stop {
    /// The program failed.
    Error(jaq_json::Error),
    /// A limit was exceeded. `?` does not catch this.
    Bound(&'static str),
    /// The caller wants no more outputs.
    Enough,
}

impl Direct {
    /// None if the program needs the interpreter.
    pub(super) fn compile(term: &Term<&str>) -> Option<Self> {
        compile::direct(term, compile::DEPTH_MAX)
    }

    /// Passes each output to `each` until that returns false. An error says why the program failed or was stopped.
    pub(super) fn run(
        &self,
        bounds: &Bounds,
        response: &Val,
        mut each: impl FnMut(Val) -> bool,
    ) -> Result<(), String> {
        let ended = self.each(response, bounds, &mut |found| match each(found.into_owned()) {
            true => Ok(()),
            false => Err(Stop::Enough),
        });
        match ended {
            // The limit was exceeded, but evaluation ended without noticing.
            Ok(()) => bounds.stopped().map_or(Ok(()), |reason| Err(reason.to_owned())),
            Err(Stop::Enough) => Ok(()),
            Err(Stop::Bound(reason)) => Err(reason.to_owned()),
            Err(Stop::Error(error)) => Err(error.to_string()),
        }
    }
}
