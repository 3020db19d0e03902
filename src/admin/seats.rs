//! The connections of the door, by who has them: nobody can keep out the others, nor the next of their own.
//!
//! A connection on which nothing is asked is a guest. When its client has many, or the door is full, the one that has
//! waited longest makes room for who comes. One that is being answered, or is a stream, stays. So whoever opens
//! connections and says nothing, or asks without being let in, never delays a rollback, be it from the same address.

use super::caller::Peer;
use super::stay::Stay;
use std::net::{IpAddr, Ipv6Addr};
use tokio::task::Id;

/// Open connections.
pub(super) const CONNECTIONS_MAX: usize = 128;
/// Open connections of one address, or of one user of a socket. A proxy that signs people in has one address for all of
/// them, and each who looks at the dashboard a stream and a few more.
pub(super) const CONNECTIONS_OF_CLIENT_MAX: usize = 96;
/// Bits of an IPv6 address that tell clients apart: any of them has all addresses of its network.
const CLIENT_BITS_V6: u32 = 64;

/// Who is connected, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Seats(Vec<Seat>);

#[derive(Debug)]
struct Seat {
    id: Id,
    client: Peer,
    stay: Stay,
}

impl Seats {
    /// Whether who comes is let in. Another one may have to leave for that.
    pub(super) fn make_room(&mut self, peer: Peer) -> bool {
        let client = client(peer);
        let crowd = match () {
            () if self.of(client) >= CONNECTIONS_OF_CLIENT_MAX => Some(client),
            () if self.0.len() >= CONNECTIONS_MAX => {
                self.0.iter().map(|seat| seat.client).max_by_key(|client| self.of(*client))
            }
            () => return true,
        };
        self.end_first(|seat| Some(seat.client) == crowd)
    }

    /// Whether somebody had to leave, whoever it is.
    pub(super) fn give_one_back(&mut self) -> bool {
        self.end_first(|_| true)
    }

    /// Ends the first connection of this kind on which nothing is asked.
    fn end_first(&mut self, is_meant: impl Fn(&Seat) -> bool) -> bool {
        let Some(at) = self.0.iter().position(|seat| is_meant(seat) && !seat.stay.is_needed()) else { return false };
        self.0.remove(at).stay.end();
        true
    }

    /// It came in.
    pub(super) fn take(&mut self, id: Id, peer: Peer, stay: Stay) {
        self.0.push(Seat { id, client: client(peer), stay });
    }

    /// It has ended.
    pub(super) fn leave(&mut self, id: Id) {
        self.0.retain(|seat| seat.id != id);
    }

    fn of(&self, client: Peer) -> usize {
        self.0.iter().filter(|seat| seat.client == client).count()
    }
}

/// Whose connections are counted together.
fn client(peer: Peer) -> Peer {
    match peer {
        Peer::Tcp(IpAddr::V6(address)) => {
            let network = u128::from(address) & (u128::MAX << (128 - CLIENT_BITS_V6));
            Peer::Tcp(IpAddr::V6(Ipv6Addr::from(network)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::Tcp(text.parse().unwrap())
    }

    /// Comes in if there is room, and stays until the test is over.
    fn come(seats: &mut Seats, from: &str) -> Option<Stay> {
        let stay = Stay::default();
        let id = tokio::spawn(std::future::pending::<()>()).id();
        seats.make_room(peer(from)).then(|| seats.take(id, peer(from), stay.clone()))?;
        Some(stay)
    }

    /// Whether it was told to end since this was last asked.
    fn has_ended(stay: &Stay) -> bool {
        let over = std::pin::pin!(stay.over());
        over.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn one_address_leaves_room_for_others_and_for_its_own_next_one() {
        let mut seats = Seats::default();
        let silent: Vec<Stay> = (0..300).map(|_| come(&mut seats, "10.0.0.1").unwrap()).collect();
        let ended: Vec<bool> = silent.iter().map(has_ended).collect();
        assert_eq!(ended.iter().filter(|has_ended| !**has_ended).count(), CONNECTIONS_OF_CLIENT_MAX);
        assert!(ended[0] && !ended[299], "who waited longest made room");
        for _ in 0..CONNECTIONS_MAX - CONNECTIONS_OF_CLIENT_MAX {
            assert!(come(&mut seats, "10.0.0.2").is_some());
        }
        let late = come(&mut seats, "10.0.0.3").unwrap();
        assert_eq!(seats.of(peer("10.0.0.1")), CONNECTIONS_OF_CLIENT_MAX - 1, "whoever has most gives one");
        assert!(!has_ended(&late));
        assert!(seats.give_one_back());
    }

    #[tokio::test]
    async fn who_is_being_answered_stays() {
        let mut seats = Seats::default();
        let asking: Vec<_> = (0..CONNECTIONS_OF_CLIENT_MAX)
            .map(|_| come(&mut seats, "10.0.0.1").unwrap())
            .map(|stay| stay.ask())
            .collect();
        assert!(come(&mut seats, "10.0.0.1").is_none(), "nobody has to leave for it");
        assert!(come(&mut seats, "10.0.0.2").is_some());
        drop(asking);
        assert!(come(&mut seats, "10.0.0.1").is_some());
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_client_and_each_user_of_a_socket_is_one() {
        assert_eq!(client(peer("2001:db8::1")), client(peer("2001:db8::ffff:1")));
        assert_ne!(client(peer("2001:db8::1")), client(peer("2001:db8:0:1::1")));
        assert_ne!(client(Peer::Unix(Some(0))), client(Peer::Unix(Some(1_000))));
    }
}
