//! Stores of users, sessions, money, positions and leases: the one in memory, with a flaw.

mod accounts;
mod audits;
mod leases;
mod positions;
mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_domain::ports::{Fence, IdempotencyKey, Sessions};
use doorstep_domain::{EntryKind, Position, PositionId, Session, TokenHash, UserId};

use super::{WrongAdapter, with_flaws};
use crate::Reopens;
use crate::memory_bank::MemoryBank;

pub(super) fn all() -> Vec<WrongAdapter> {
    [accounts::all(), sessions::all(), positions::all(), leases::all(), audits::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// What a store does wrong. The files of the ports say what each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    LosesAtReopening,
    // Users.
    LosesPasswords,
    FindsUuidsOnly,
    BeginsWithMoney,
    UnknownHasZero,
    SpellingMatters,
    KeepsTheUserOfAFailure,
    LooksForTheName,
    OwedNewestFirst,
    OwedIgnoresLimit,
    // The ledger.
    LosesReferences,
    GrantsAgain,
    OncePerReference,
    GrantedEach,
    GrantsOneByOne,
    GrantsToNobody,
    GrantsWhatIsRefused,
    EntriesRepeat,
    EntriesOfUnknown,
    CopiesToGrant,
    BalanceFromBefore,
    // Sessions.
    ForgetsTheFirst,
    RoundsExpiry,
    FindsAtExpiry,
    FindsTheLatest,
    ClosesAllOfTheUser,
    PurgesAnHourMore,
    PurgesNothing,
    CountsAllAsPurged,
    OpensForNobody,
    OpensAgainAtReopening,
    // Positions.
    LosesTriggers,
    ReservesNothing,
    SettlesTheGainOnly,
    ClosesAgain,
    OpensOnCredit,
    OpensAnyNumber,
    OpensPositionOfNobody,
    FindsAnybodys,
    CopiesToOpenWithKey,
    FindsKeysOfOthers,
    ForgetsKeysOfClosed,
    KeepsKeysForAnHour,
    KeepsKeysForTwoDays,
    KeepsKeysOfRefused,
    CopiesToClose,
    CopiesToOpen,
    SettlesBalanceFromBefore,
    IgnoresStatus,
    PagesOfUnknown,
    ListsClosedAsOpen,
    ListsOpenFromTheStart,
    NumbersEachOne,
    OwesForEver,
    OwesWithoutLimit,
    ClosesOneByOne,
    MixesCloses,
    LosesClosesAtReopening,
    // Leases.
    LooksToTake,
    OneForAllNames,
    LastsForEver,
    RenewsNothing,
    NumbersEachHolderOne,
    LosesNotes,
    KeepsWhatIsReleased,
    RenewsForEarlierHolders,
    ReleasesForEarlierHolders,
    ClosesUnderAnyLease,
    ClosesUnderAnyNumber,
    ClosesAndSaysLost,
    ClosesUnderNoLease,
    // Audits.
    CountsNoEntries,
    SuspectsOpenPositions,
    IgnoresRules,
    MissesSecondGifts,
    MissesForged,
    MissesTheSum,
    ListsOneMore,
}

/// The bank in memory behind a flaw.
struct Wrong {
    flaw: Flaw,
    inner: MemoryBank,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who was granted each first.
    granted: HashMap<(EntryKind, String), UserId>,
    sessions: Vec<Session>,
    closed: Vec<Session>,
    known: Vec<TokenHash>,
    positions: BTreeMap<PositionId, Position>,
    refused: Vec<(IdempotencyKey, Position)>,
    before_closes: Option<MemoryBank>,
    holders: HashMap<String, Fence>,
}

impl Wrong {
    fn with(flaw: Flaw) -> Arc<Self> {
        Self::around(flaw, MemoryBank::default())
    }

    fn around(flaw: Flaw, inner: MemoryBank) -> Arc<Self> {
        Arc::new(Self { flaw, inner, state: Mutex::default() })
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a bank is opened again.
struct Place(Arc<Wrong>);

#[async_trait]
impl Reopens for Place {
    type Store = Wrong;

    async fn reopen(&mut self) -> Arc<Wrong> {
        let Wrong { flaw, inner, .. } = &*self.0;
        let flaw = *flaw;
        match flaw {
            Flaw::LosesAtReopening => self.0 = Wrong::with(flaw),
            Flaw::OpensAgainAtReopening => {
                let closed = self.0.state().closed.clone();
                for session in &closed {
                    Sessions::open(inner, session).await.ok();
                }
            }
            Flaw::LosesClosesAtReopening => {
                if let Some(before) = self.0.state().before_closes.take() {
                    inner.replace_with(&before);
                }
            }
            _ => {}
        }
        self.0.clone()
    }
}
