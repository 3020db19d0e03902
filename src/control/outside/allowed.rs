//! Which addresses may be asked.

use ipnet::IpNet;
use std::net::IpAddr;

use crate::model::is_public;

/// What the file allows beyond public addresses.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    networks: Vec<IpNet>,
}

/// Why an address is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is of this machine, of a private network, or of none.
    NotPublic,
    /// What is asked there could be read and changed on the way.
    Plain,
}

impl Allowed {
    pub(super) fn new(networks: Vec<IpNet>) -> Allowed {
        Allowed { networks }
    }

    /// Whether an address may be asked. In networks that the file names everything may, also without encryption.
    pub(super) fn judge(&self, address: IpAddr, is_secure: bool) -> Result<(), Refused> {
        let address = address.to_canonical();
        match address {
            _ if self.networks.iter().any(|network| network.contains(&address)) => Ok(()),
            _ if !is_public(address) => Err(Refused::NotPublic),
            _ if !is_secure => Err(Refused::Plain),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_asked_and_only_within_tls() {
        let allowed = Allowed::default();
        for address in ["8.8.8.8", "172.15.0.1", "192.0.1.1", "2606:4700::1", "64:ff9b::808:808", "::ffff:8.8.8.8"] {
            let address = address.parse().unwrap();
            assert_eq!(allowed.judge(address, true), Ok(()), "{address}");
            assert_eq!(allowed.judge(address, false), Err(Refused::Plain), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
        ] {
            assert_eq!(allowed.judge(address.parse().unwrap(), true), Err(Refused::NotPublic), "{address}");
        }
    }

    #[test]
    fn what_the_file_names_is_asked_in_any_way() {
        let allowed = Allowed::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        for address in ["10.200.0.1", "::ffff:10.0.0.1", "::1"] {
            assert_eq!(allowed.judge(address.parse().unwrap(), false), Ok(()), "{address}");
        }
        assert_eq!(allowed.judge("11.0.0.1".parse().unwrap(), false), Err(Refused::Plain));
        assert_eq!(allowed.judge("127.0.0.1".parse().unwrap(), true), Err(Refused::NotPublic));
    }
}
