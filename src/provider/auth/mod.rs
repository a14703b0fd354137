//! How calls say whose they are: credentials, tokens and signatures.

mod credential;
mod login;
mod oauth2;
mod param;
mod sign;

pub(super) use credential::check_name;
pub use credential::{About, Auth, AuthKind, BASIC, Key};
pub use login::{Login, TOKEN};
pub use oauth2::{CLIENT, ClientAuth, Flow, OAuth2, Whose};
pub use param::{Param, ParamKind};
pub use sign::{Encoding, Sign, SignKey, SignKind};
