//! What intake refuses, and why.

use thiserror::Error;

/// A message that is not accepted. The text names the remedy, holds nothing of the message, and may be
/// shown to whoever sent it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum IntakeError {
    #[error("the message has no text; send what the customer wrote in `text`")]
    Empty,
    #[error(
        "the {part} has {bytes} bytes, the limit is {limit}; send a shorter text or raise the limit in the configuration"
    )]
    TooLong { part: &'static str, bytes: usize, limit: usize },
    #[error("the {part} is not UTF-8 at byte {position}; send it encoded in UTF-8")]
    NotUtf8 { part: &'static str, position: usize },
    #[error(
        "the message has {count} attachments, the limit is {limit}; send fewer or raise the limit in the configuration"
    )]
    TooManyAttachments { count: usize, limit: usize },
    #[error(
        "the attached files have {bytes} bytes together, the limit is {limit}; send fewer or smaller ones, or raise \
         `[intake] attachment_bytes` in the configuration"
    )]
    FilesTooLarge { bytes: usize, limit: usize },
}

/// Why a token was refused: for the log. Whoever sent it gets [`IdentityError::public`], which tells an attacker
/// nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum IdentityError {
    #[error("the identity token has {bytes} bytes, the limit is {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("the identity token is no compact JWS: bad {part}")]
    Malformed { part: &'static str },
    #[error("the identity token's header names another algorithm than the configured key's, {expected}")]
    Algorithm { expected: &'static str },
    #[error("the identity token's header demands extensions (`crit`), and none is supported")]
    Critical,
    #[error("the identity token's signature does not hold for the configured key")]
    Signature,
    #[error("the identity token's claims are incomplete, doubled or of another type (near column {column})")]
    Claims { column: usize },
    #[error("the identity token is of another issuer (`iss`)")]
    Issuer,
    #[error("the identity token is for another audience (`aud`)")]
    Audience,
    #[error("the identity token's `{claim}` is empty, too long or has characters that no id has")]
    Claim { claim: &'static str },
    #[error("the identity token is of the future (`iat` or `nbf`); compare the clocks")]
    NotYet,
    #[error("the identity token has expired (`exp`)")]
    Expired,
    #[error("the identity token lives {seconds} seconds from `iat` to `exp`; allowed are 1 to {limit}")]
    Life { seconds: i64, limit: i64 },
    #[error("the identity token is for another case (`case`)")]
    OtherCase,
    #[error("the identity token is for another message (`msg`)")]
    OtherMessage,
}

impl IdentityError {
    /// One text for every reason.
    pub const fn public(&self) -> &'static str {
        "the identity token was not accepted; get a new one for this message and send it once"
    }
}

/// A bad setting of the channel's key.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum IdentityKeyError {
    #[error("identity: `{field}` is empty; set it to the value that the channel signs")]
    Empty { field: &'static str },
    #[error(
        "identity: `public_key` is no public key for {algorithm}; give PEM (`BEGIN PUBLIC KEY`) or base64url \
         without padding (EdDSA: 32 bytes, ES256: the point of P-256)"
    )]
    Key { algorithm: &'static str },
}
