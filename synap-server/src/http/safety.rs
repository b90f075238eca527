//! What keeps pages in a browser away from a server that only trusts its network.
//!
//! A browser says which site a call comes from (`Origin`), so calls of other sites are refused. A page whose own name was
//! made to point at us (DNS rebinding) has the right `Origin`, but its name stands in `Host`: a connection that came in
//! over the loopback interface takes only names of it, addresses, and those that `http-allowed-hosts` lists.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri, Version};
use synap_core::execute::State;
use synap_core::settings;

use super::answer;
use super::door::{Peer, Refused};

pub fn check(state: &State, peer: &Peer, version: Version, uri: &Uri, headers: &HeaderMap) -> Refused<()> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(answer::status(StatusCode::BAD_REQUEST, "the request has more than one Host").into());
    }
    // A whole address in the first line stands above the header (RFC 9112, 3.2.2).
    let host = uri.authority().map(|name| name.as_str().as_bytes()).or(first.map(|host| host.as_bytes()));
    check_host(state, peer, version, host)?;
    let is_own = |origin: &HeaderValue| {
        let own = origin.as_bytes().splitn(2, |byte| *byte == b':').nth(1).and_then(|rest| rest.strip_prefix(b"//"));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host.unwrap_or_default()))
    };
    if headers.get_all(header::ORIGIN).iter().all(is_own) {
        return Ok(());
    }
    Err(answer::status(StatusCode::FORBIDDEN, "calls from pages of other sites are not taken").into())
}

fn check_host(state: &State, peer: &Peer, version: Version, host: Option<&[u8]>) -> Refused<()> {
    let Some(host) = host else {
        // HTTP/1.0 has none, and no browser speaks it.
        return match version {
            Version::HTTP_11 => Err(answer::status(StatusCode::BAD_REQUEST, "the request has no Host").into()),
            _ => Ok(()),
        };
    };
    if !peer.is_loopback || is_own(host) || is_listed(&state.settings.text(settings::HTTP_ALLOWED_HOSTS), host) {
        return Ok(());
    }
    let detail = "this server is not known by that Host; http-allowed-hosts lists further names";
    Err(answer::status(StatusCode::MISDIRECTED_REQUEST, detail).into())
}

/// A name of the loopback interface, or an address: whoever points a name of their own at us does not send these.
fn is_own(host: &[u8]) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case(b"localhost")
        || name.to_ascii_lowercase().ends_with(b".localhost")
        || std::str::from_utf8(name).is_ok_and(|name| name.parse::<IpAddr>().is_ok())
}

fn is_listed(listed: &str, host: &[u8]) -> bool {
    let name = without_port(host);
    listed.split_whitespace().any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(name))
}

/// The name of a `Host`; an IPv6 address loses its brackets. What has anything but a port behind it is no name.
fn without_port(host: &[u8]) -> &[u8] {
    let (name, rest) = match host.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return b"",
        },
        None => host.split_at(host.iter().position(|byte| *byte == b':').unwrap_or(host.len())),
    };
    let is_port = |rest: &[u8]| rest.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit));
    if rest.is_empty() || is_port(rest) { name } else { b"" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_the_loopback_interface_are_our_own() {
        for host in ["localhost", "LOCALHOST:15500", "a.localhost", "127.0.0.1:1", "[::1]:15500", "[::1]", "10.0.0.7"] {
            assert!(is_own(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[",
            "::1",
            "a:b:c",
            "localhost:evil",
            "[::1]x",
            "[::1",
        ] {
            assert!(!is_own(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn further_names_are_listed() {
        assert!(is_listed("a.example B.example", b"b.example:80"));
        assert!(is_listed("*", b"any"));
        assert!(!is_listed("", b""));
        assert!(!is_listed("a.example", b"x.a.example"));
    }
}
