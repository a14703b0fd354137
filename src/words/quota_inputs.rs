//! What the limits of an account depend on, where its provider's do.

/// The plan that an account is on, and how many of its devices we know.
///
/// The default is what counts where neither is known: no provider's plan has this name, and the least is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaInputs {
    /// The plan's name, as the definition has it. One that the definition does not know counts as the smallest.
    pub plan: String,
    /// Devices under the connection. The cloud may know of more: fewer is the safe side.
    pub devices: u32,
}
