//! Where the server is: `ws://host[:port][/path]`, or `wss://`.
use std::net::ToSocketAddrs;

use http::Uri;

use super::error::Failed;
use super::plan::Target;
use super::trust::Trust;

impl Target {
    /// Reads an address and looks its host up. Without a word on `trust` it is the system's.
    ///
    /// # Errors
    /// Says why it can't be one.
    pub(crate) fn resolve(url: &str, trust: Option<&Trust>) -> Result<Self, Failed> {
        let wrong = |why: String| Failed::Url { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
        let (port, secure) = match uri.scheme_str() {
            Some("ws") => (80, false),
            Some("wss") => (443, true),
            _ => return Err(wrong("it has to begin with ws:// or wss://".into())),
        };
        if !secure && trust.is_some() {
            return Err(wrong("--ca-file and --insecure are for wss://".into()));
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| wrong("it names no host".into()))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(port);
        let path = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => "/ws",
            Some(path) => path,
        };
        let addresses = (name, port).to_socket_addrs();
        let mut addresses = addresses.map_err(|error| wrong(format!("{name}: {error}")))?;
        let address = addresses.next().ok_or_else(|| wrong(format!("{name} has no address")))?;
        let secured = match secure {
            true => Some(trust.unwrap_or(&Trust::System).secure(url, name)?),
            false => None,
        };
        let host = authority.as_str().to_owned();
        Ok(Self { url: url.to_owned(), host, path: path.to_owned(), address, secured })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_port_may_be_left_out() {
        for (url, address, host, path) in [
            ("ws://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "/ws"),
            ("ws://127.0.0.1:8080/", "127.0.0.1:8080", "127.0.0.1:8080", "/ws"),
            ("ws://[::1]:9/chat?a=b", "[::1]:9", "[::1]:9", "/chat?a=b"),
            ("wss://127.0.0.1", "127.0.0.1:443", "127.0.0.1", "/ws"),
        ] {
            let trust = url.starts_with("wss:").then_some(&Trust::Anything);
            let target = Target::resolve(url, trust).unwrap();
            assert_eq!(target.address.to_string(), address);
            assert_eq!((&*target.host, &*target.path), (host, path), "{url}");
            assert_eq!(target.secured.is_some(), url.starts_with("wss:"), "{url}");
        }
    }

    #[test]
    fn a_wrong_address_is_explained() {
        for (url, why) in [
            ("http://127.0.0.1", "begin with ws://"),
            ("127.0.0.1:80", "begin with ws://"),
            ("ws://a@b", "no host"),
            ("ws://a b", "invalid"),
        ] {
            let error = Target::resolve(url, None).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(url), "{error}");
        }
        let plain = Target::resolve("ws://127.0.0.1", Some(&Trust::Anything)).unwrap_err();
        assert!(plain.to_string().contains("--insecure are for wss://"), "{plain}");
    }
}
