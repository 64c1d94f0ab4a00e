use doorstep_domain::{Payload, Ttl};
use uuid::Uuid;

use super::*;

const ME: NodeId = NodeId([0; 16]);
const OTHER: NodeId = NodeId([1; 16]);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn popup(n: u128) -> Notification {
    Notification {
        id: NotificationId::new(Uuid::from_u128(n)),
        user_id: "ada".parse().unwrap(),
        kind: "welcome".parse().unwrap(),
        topic: None,
        payload: Payload::new("hello").unwrap(),
        created_at: at(0),
        ttl: Some(Ttl::from_secs(10)),
        trace: None,
    }
}

fn open(proposals: &mut Proposals, n: u128, mine: bool) {
    assert!(proposals.opened(popup(n).id, Sequence(7), mine, at(0)));
}

fn due(proposals: &mut Proposals, now: Timestamp) -> Vec<Todo> {
    proposals.take_due(now, 10, Clone::clone, |at| at)
}

#[test]
fn an_end_is_appended_once_until_it_is_known_that_it_has_not_won() {
    let mut proposals = Proposals::new(ME);
    open(&mut proposals, 1, true);
    proposals.propose(&popup(1), Outcome::Delivered, at(5));
    // The first proposal counts.
    proposals.propose(&popup(1), Outcome::Recalled, at(5));
    let todo = due(&mut proposals, at(5));
    let [Todo::Append(id, append)] = &todo[..] else { panic!("{todo:?}") };
    assert_eq!(append.expecting, Expecting::Sequence(Sequence(7)));
    let read = ClusterEntry::decode(append.key, &append.bytes).unwrap();
    assert!(matches!(read, ClusterEntry::Ended { outcome: Some(Outcome::Delivered), .. }));
    assert!(due(&mut proposals, at(9000)).is_empty(), "it is under way");
    // A refusal decides nothing.
    proposals.answered(*id, &Appended::Lost, at(100));
    assert!(due(&mut proposals, at(200)).is_empty());
    assert_eq!(due(&mut proposals, at(1100)).len(), 1);
    proposals.answered(*id, &Appended::Won(Sequence(8)), at(1200));
    assert_eq!((proposals.next_due(), proposals.count()), (None, (1, 1)), "not read back yet");
    assert_eq!(proposals.ended(*id), Some(at(0)));
    assert_eq!(proposals.count(), (0, 0));
}

#[test]
fn the_node_that_accepted_it_says_first_that_it_has_expired() {
    for (mine, when) in [(true, at(11_000)), (false, at(12_000))] {
        let mut proposals = Proposals::new(ME);
        open(&mut proposals, 1, mine);
        proposals.propose(&popup(1), Outcome::Expired, at(10_000));
        assert_eq!(proposals.next_due(), Some(when));
    }
    let mut late = Proposals::new(OTHER);
    open(&mut late, 1, false);
    late.propose(&popup(1), Outcome::Expired, at(10_000));
    assert_eq!(late.next_due(), Some(at(12_002)), "not all of the others at once");
}

#[test]
fn what_has_ended_is_not_proposed() {
    let mut proposals = Proposals::new(ME);
    open(&mut proposals, 1, true);
    proposals.ended(popup(1).id);
    proposals.propose(&popup(1), Outcome::Expired, at(0));
    proposals.propose_promotion(popup(1), at(0));
    proposals.propose_later(&popup(1), Outcome::Replaced, at(0));
    assert_eq!(proposals.count(), (0, 0));
}

#[test]
fn a_promotion_that_was_won_voids_every_other_proposal_and_is_rescued_if_its_node_is_gone() {
    let mut proposals = Proposals::new(ME);
    open(&mut proposals, 1, true);
    proposals.propose(&popup(1), Outcome::Expired, at(10_000));
    proposals.promoting(&popup(1), Sequence(8), OTHER, at(10_500));
    assert!(due(&mut proposals, at(15_000)).is_empty());
    let todo = due(&mut proposals, at(15_500));
    assert!(matches!(&todo[..], [Todo::Rescue(n)] if *n == popup(1)), "{todo:?}");
    proposals.propose(&popup(1), Outcome::Promoted, at(15_600));
    let todo = due(&mut proposals, at(15_600));
    let [Todo::Append(_, append)] = &todo[..] else { panic!("{todo:?}") };
    assert_eq!(append.expecting, Expecting::Sequence(Sequence(8)));
}

#[test]
fn what_was_proposed_in_a_log_that_was_lost_is_proposed_again_or_told() {
    let mut proposals = Proposals::new(ME);
    for (n, mine) in [(1, true), (2, false), (3, true)] {
        open(&mut proposals, n, mine);
    }
    proposals.propose(&popup(1), Outcome::Delivered, at(5));
    proposals.propose(&popup(2), Outcome::Delivered, at(5));
    assert_eq!(proposals.read_again(), [popup(1).id, popup(3).id]);
    assert!(due(&mut proposals, at(5000)).is_empty(), "nothing is known yet");
    // An acknowledgement that comes meanwhile is kept.
    proposals.propose(&popup(3), Outcome::Delivered, at(6));
    assert!(!proposals.opened(popup(3).id, Sequence(1), true, at(10)));
    assert_eq!(due(&mut proposals, at(10)).len(), 1);
    let told: Vec<_> = proposals.read(false).into_iter().map(|left| left.id).collect();
    assert_eq!(told, [popup(1).id], "its own is told; the node of the other may append it again");
    assert!(!proposals.opened(popup(2).id, Sequence(2), false, at(20)));
    assert_eq!(proposals.read(true).len(), 0);
}

#[test]
fn a_node_that_stops_leaves_to_the_others_what_is_not_due() {
    let mut proposals = Proposals::new(ME);
    open(&mut proposals, 1, true);
    open(&mut proposals, 2, true);
    proposals.propose(&popup(1), Outcome::Delivered, at(10));
    proposals.propose(&popup(2), Outcome::Expired, at(10));
    proposals.leave_to_others(at(10));
    assert_eq!(proposals.count(), (2, 1));
    assert_eq!(due(&mut proposals, at(10)).len(), 1);
}
