//! What may be a name, a label or an environment variable, and the texts that say so.
//!
//! Source: kubernetes-api.md §2.3; apimachinery pkg/util/validation; golden names. The predicates allocate nothing.

use arc_api::{Str, format_smolstr};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                     end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                     start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
                     for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ENV: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must \
                   not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation \
                   is '[-._a-zA-Z][-._a-zA-Z0-9]*')";
const ENV_RELAXED: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                          'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

const SUBDOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label_text(text: &str) -> bool {
    let b = text.as_bytes();
    match (b.first(), b.last()) {
        (Some(first), Some(last)) => {
            lower_alnum(*first) && lower_alnum(*last) && b.iter().all(|c| lower_alnum(*c) || *c == b'-')
        }
        _ => false,
    }
}

/// Labels with dots between them.
fn is_subdomain_text(text: &str) -> bool {
    // Before the first byte and behind the last one a label begins and ends.
    let mut last = b'.';
    text.bytes().chain([b'.']).all(|b| {
        let fits = match b {
            b'.' => lower_alnum(last),
            b'-' => last != b'.',
            _ => lower_alnum(b),
        };
        last = b;
        fits
    })
}

fn is_word(text: &str) -> bool {
    let b = text.as_bytes();
    match (b.first(), b.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

fn too_long(max: usize) -> Str {
    format_smolstr!("must be no more than {max} characters")
}

/// What is wrong with a name: nothing, or texts to put after `Invalid value: "…": `.
pub(crate) type Faults = Vec<Str>;

fn fault(list: &mut Faults, wrong: bool, text: impl FnOnce() -> Str) {
    if wrong {
        list.push(text());
    }
}

/// RFC 1123 subdomain: most names.
pub(crate) fn subdomain(name: &str) -> Faults {
    let mut list = Faults::new();
    fault(&mut list, name.len() > SUBDOMAIN_MAX, || too_long(SUBDOMAIN_MAX));
    fault(&mut list, !is_subdomain_text(name), || Str::new_static(SUBDOMAIN));
    list
}

/// RFC 1123 label: namespaces, containers, volumes.
pub(crate) fn label(name: &str) -> Faults {
    let mut list = Faults::new();
    fault(&mut list, name.len() > LABEL_MAX, || too_long(LABEL_MAX));
    fault(&mut list, !is_label_text(name), || Str::new_static(LABEL));
    list
}

/// A segment of a path: RBAC names.
pub(crate) fn path_segment(name: &str) -> Faults {
    let mut list = Faults::new();
    fault(&mut list, matches!(name, "." | ".."), || format_smolstr!("may not be '{name}'"));
    for part in ["/", "%"] {
        fault(&mut list, name.contains(part), || format_smolstr!("may not contain '{part}'"));
    }
    list
}

/// `[prefix/]name`: keys of labels and annotations, finalizers.
pub(crate) fn qualified(name: &str) -> Faults {
    let mut list = Faults::new();
    let (prefix, word) = match name.bytes().position(|b| b == b'/') {
        Some(at) => (Some(&name[..at]), &name[at + 1..]),
        None => (None, name),
    };
    if let Some(prefix) = prefix {
        fault(&mut list, prefix.is_empty(), || Str::new_static("prefix part must be non-empty"));
        if !prefix.is_empty() {
            list.extend(subdomain(prefix).into_iter().map(|f| format_smolstr!("prefix part {f}")));
        }
    }
    fault(&mut list, word.is_empty(), || Str::new_static("name part must be non-empty"));
    fault(&mut list, word.len() > LABEL_MAX, || format_smolstr!("name part {}", too_long(LABEL_MAX)));
    fault(&mut list, !is_word(word), || Str::new_static(QUALIFIED));
    list
}

/// A label's value.
pub(crate) fn label_value(value: &str) -> Faults {
    let mut list = Faults::new();
    fault(&mut list, value.len() > LABEL_MAX, || too_long(LABEL_MAX));
    fault(&mut list, !value.is_empty() && !is_word(value), || Str::new_static(VALUE));
    list
}

/// An environment variable; from 1.34 on nearly anything (RelaxedEnvironmentVariableValidation).
pub(crate) fn env_name(name: &str, minor: u32) -> Faults {
    let mut list = Faults::new();
    if minor >= 34 {
        let wrong = name.is_empty() || !name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
        fault(&mut list, wrong, || Str::new_static(ENV_RELAXED));
        return list;
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let wrong = name.bytes().next().is_none_or(|b| b.is_ascii_digit()) || !name.bytes().all(allowed);
    fault(&mut list, wrong, || Str::new_static(ENV));
    list
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_key(key: &str) -> Faults {
    let mut list = Faults::new();
    fault(&mut list, key.len() > SUBDOMAIN_MAX, || too_long(SUBDOMAIN_MAX));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    fault(&mut list, key.is_empty() || !key.bytes().all(allowed), || Str::new_static(CONFIG_KEY));
    fault(&mut list, key == ".", || Str::new_static("must not be '.'"));
    fault(&mut list, key == "..", || Str::new_static("must not be '..'"));
    list
}

/// Whether `faults` of this name are none, without building texts for the common good case.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.len() <= SUBDOMAIN_MAX && is_subdomain_text(name)
}

/// As [`is_subdomain`], for labels.
pub(crate) fn is_label_name(name: &str) -> bool {
    name.len() <= LABEL_MAX && is_label_text(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_real_server_judges_them() {
        assert!(subdomain("a.b-c.d").is_empty() && subdomain(&"a".repeat(253)).is_empty());
        for bad in ["Bad_Name", "a-", "a..b", "-a", ""] {
            assert_eq!(subdomain(bad), [SUBDOMAIN], "{bad}");
        }
        assert_eq!(subdomain(&"a".repeat(254)), ["must be no more than 253 characters"]);
        assert_eq!(label("a.b"), [LABEL]);
        assert_eq!(path_segment(".."), ["may not be '..'"]);
        assert_eq!(path_segment("a%b/c"), ["may not contain '/'", "may not contain '%'"]);
        assert!(path_segment("system:Node.x").is_empty());
        assert_eq!(qualified("x.io/"), ["name part must be non-empty", QUALIFIED]);
        assert_eq!(qualified("A_B/x"), [format_smolstr!("prefix part {SUBDOMAIN}")]);
        assert_eq!(qualified("a b"), [QUALIFIED]);
        assert!(label_value("").is_empty() && !label_value("a b").is_empty());
        assert_eq!(label_value(&"v".repeat(64)), ["must be no more than 63 characters"]);
        assert!(
            !env_name("a b", 33).is_empty() && env_name("a b", 34).is_empty() && env_name("MY_ENV.NAME", 20).is_empty()
        );
    }
}
