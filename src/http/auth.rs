//! Who calls: an API key names one principal and its role.

use super::error::Refusal;
use crate::base::Digest;
use crate::governance::{Principal, Role};
use axum::http::{HeaderMap, header};

/// One key of the configuration. Of the key itself only the digest is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// For the log; two keys of one person have two names.
    pub name: String,
    pub principal: Principal,
    /// SHA-256 of the key's UTF-8 bytes, 64 hexadecimal digits.
    pub sha256: String,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Without a key.
    Everybody,
    Roles(fn(Role) -> bool),
}

impl Access {
    /// The roles that are let in; none for `Everybody`, who need none.
    pub fn roles(self) -> Vec<&'static str> {
        match self {
            Self::Everybody => Vec::new(),
            Self::Roles(allowed) => {
                Role::ALL.into_iter().filter(|role| allowed(*role)).map(Role::as_str).collect()
            }
        }
    }
}

/// Everybody who works in the bank.
pub fn staff(role: Role) -> bool {
    !matches!(role, Role::Channel | Role::System)
}

const LONGEST_KEY: usize = 512;

/// The key that the request carries.
///
/// # Errors
/// 401 when there is none, more than one, or one that is not known.
pub fn authenticate<'k>(headers: &HeaderMap, keys: &'k [ApiKey]) -> Result<&'k ApiKey, Refusal> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(Refusal::no_key()) };
    let text = value.to_str().map_err(|_| Refusal::no_key())?;
    let (scheme, key) = text.split_once(' ').ok_or_else(Refusal::no_key)?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Refusal::no_key());
    }
    let digest = Digest::of(key.as_bytes());
    // All keys are compared, so that the time does not tell which one came close.
    let mut found = None;
    for known in keys {
        if same(&known.sha256, digest.hex()) {
            found = Some(known);
        }
    }
    found.ok_or_else(Refusal::no_key)
}

/// Compares hexadecimal digits in a time that depends on their number alone.
fn same(a: &str, b: &str) -> bool {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    let differing = a.bytes().zip(b.bytes()).fold(0, |differing, (a, b)| differing | (lower(a) ^ lower(b)));
    a.len() == b.len() && differing == 0
}

/// The principal, if its role may use the route; `None` where nobody needs to be known.
pub fn admit<'k>(
    headers: &HeaderMap,
    keys: &'k [ApiKey],
    access: Access,
) -> Result<Option<&'k ApiKey>, Refusal> {
    let Access::Roles(allowed) = access else { return Ok(None) };
    let key = authenticate(headers, keys)?;
    if allowed(key.principal.role) {
        Ok(Some(key))
    } else {
        Err(Refusal::role(key.principal.role.as_str(), &access.roles().join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn keys() -> Vec<ApiKey> {
        let key = |name: &str, role, secret: &str| ApiKey {
            name: name.into(),
            principal: Principal { name: name.into(), role },
            sha256: Digest::of(secret.as_bytes()).hex().into(),
        };
        vec![key("chat", Role::Channel, "chat-secret"), key("sara", Role::Supervisor, "sara-secret")]
    }

    fn with(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_names_its_principal() {
        let keys = keys();
        let found = authenticate(&with(&["Bearer sara-secret"]), &keys).unwrap();
        assert_eq!(found.principal.role, Role::Supervisor);
        assert_eq!(authenticate(&with(&["bearer  chat-secret"]), &keys).unwrap().name, "chat");
    }

    #[test]
    fn anything_else_is_nobody() {
        let keys = keys();
        let digest = format!("Bearer {}", Digest::of(b"sara-secret").hex());
        for values in [
            &[][..],
            &["sara-secret"],
            &["Bearer"],
            &["Bearer "],
            &["Basic sara-secret"],
            &["Bearer SARA-SECRET"],
            &["Bearer sara-secre"],
            &["Bearer sara-secret", "Bearer sara-secret"],
            &[digest.as_str()],
        ] {
            let refused = authenticate(&with(values), &keys).unwrap_err();
            assert_eq!(refused.status.as_u16(), 401, "{values:?}");
        }
        assert!(authenticate(&with(&["Bearer sara-secret"]), &[]).is_err());
    }

    #[test]
    fn a_role_reaches_its_routes_and_no_others() {
        let keys = keys();
        let approve = Access::Roles(Role::may_approve);
        assert!(admit(&with(&["Bearer sara-secret"]), &keys, approve).unwrap().is_some());
        let refused = admit(&with(&["Bearer chat-secret"]), &keys, approve).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (403, "forbidden"));
        assert!(refused.remedy.contains("agent, supervisor"));
        assert_eq!(admit(&with(&[]), &keys, approve).unwrap_err().status.as_u16(), 401);
        assert_eq!(admit(&with(&[]), &keys, Access::Everybody), Ok(None));
    }
}
