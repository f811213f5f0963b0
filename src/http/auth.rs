//! Who calls: an API key names one principal and its role.

use super::error::Refusal;
use crate::base::Digest;
use crate::governance::{Act, Administration, Principal};
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
    /// Whoever the rules of administration let do it.
    May(Act),
}

impl Access {
    /// The roles that are let in; none for `Everybody`, who need none.
    pub fn roles(self, rules: &Administration) -> Vec<&'static str> {
        match self {
            Self::Everybody => Vec::new(),
            Self::May(act) => rules.roles(act),
        }
    }
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

/// The key and its principal with the rules that let it use the route; `None` where nobody needs to be known.
pub fn admit<'k>(
    headers: &HeaderMap,
    keys: &'k [ApiKey],
    access: Access,
    rules: &Administration,
) -> Result<Option<(&'k ApiKey, Principal)>, Refusal> {
    let Access::May(act) = access else { return Ok(None) };
    let key = authenticate(headers, keys)?;
    let said = rules.evaluate(&key.principal, act);
    match said.allowed {
        true => Ok(Some((key, Principal { policies: said.policies, ..key.principal.clone() }))),
        false => Err(Refusal::role(key.principal.role.as_str(), &access.roles(rules).join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::{Role, shipped_administration};
    use axum::http::HeaderValue;

    fn keys() -> Vec<ApiKey> {
        let key = |name: &str, role, secret: &str| ApiKey {
            name: name.into(),
            principal: Principal::new(name, role),
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
        let (approve, rules) = (Access::May(Act::Approve), shipped_administration());
        let (_, sara) = admit(&with(&["Bearer sara-secret"]), &keys, approve, &rules).unwrap().unwrap();
        assert_eq!(sara.policies, ["who-serves-customers-approves"]);
        let refused = admit(&with(&["Bearer chat-secret"]), &keys, approve, &rules).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (403, "forbidden"));
        assert!(refused.remedy.contains("agent, supervisor"));
        assert_eq!(admit(&with(&[]), &keys, approve, &rules).unwrap_err().status.as_u16(), 401);
        assert_eq!(admit(&with(&[]), &keys, Access::Everybody, &rules), Ok(None));
    }
}
