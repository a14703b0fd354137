//! What quota amounts may depend on, per connection.

/// The plan of a connection's account and its number of known devices.
///
/// The default applies where neither is known: no provider has a plan with an empty name, so the smallest
/// amount counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaInputs {
    /// The plan's name in the definition. An unknown plan counts as the smallest.
    pub plan: String,
    /// Devices under the connection. The provider may know of more; counting fewer is the safe side.
    pub devices: u32,
}
