//! Servers that fail over: the work goes on at the new primary, and quotas are kept.

mod postgres;
mod redis;
mod sentinel;
