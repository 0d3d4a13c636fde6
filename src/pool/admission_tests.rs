//! The futures of a real pool, polled by hand in every order: asked, woken, dropped, timed out and
//! dismissed, with tokio's clock standing still. No server is needed: nobody opens a connection here.
//!
//! What `lanes/wake_tests.rs` shows of the steps, this shows of the code around them; steps inside of
//! one poll are not taken apart here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::backend::{ConnectionKey, Credential};
use crate::metrics::Labels;
use crate::pool::{Control, Proof, Standing, Whose};
use crate::route::view::BackendId;
use crate::route::whereabouts::Whereabouts;
use crate::state::Image;

/// One slot and one control connection; a second is the longest wait.
const CONFIG: &str = "[service]\nuser = \"fairlane\"\npassword = \"x\"\n\
    [primary]\naddress = \"127.0.0.1:3306\"\nmax_connections = 2\n\
    [[lane]]\nname = \"all\"\nqueue = 2\nqueue_timeout = \"1s\"\n";
const TASKS: usize = 4;
/// Events of one order.
const LENGTH: usize = 9;

#[derive(Debug)]
struct NoControl;

impl Control for NoControl {
    fn kill(
        &self,
        _: BackendId,
        _: u64,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }

    fn is_gone(
        &self,
        _: BackendId,
        _: u64,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }

    fn whereabouts(&self, _: BackendId) -> Arc<Whereabouts> {
        Arc::default()
    }

    fn doubt(&self, _: BackendId) {}

    fn standing(&self, _: &str, _: Proof) -> Standing {
        Standing { is_current: true, ..Standing::default() }
    }

    fn read_accounts(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

fn pool(config: &str) -> Arc<Pool> {
    let settings = crate::config::parse(config, "test").expect("a configuration");
    let lanes: Vec<String> = settings.lanes.iter().map(|lane| lane.name.clone()).collect();
    let labels = Labels {
        version: "0",
        backends: &["primary".to_owned()],
        lanes: &lanes,
        pin_reasons: &[],
        route_reasons: &[],
        commands: &[],
    };
    let metrics = Arc::new(crate::metrics::Metrics::new(&labels).expect("metrics"));
    Pool::new(&settings, BackendId::PRIMARY, Arc::new(NoControl), <_>::default(), metrics)
        .expect("a pool without TLS")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The task asks, or sees what it was told.
    Poll(usize),
    /// It goes away, with its slot if it has one.
    Drop(usize),
    /// Its time is over, and that of all that wait.
    TimeOut,
    /// Who waits longest is dismissed.
    Dismiss,
}

type Asking<'a> =
    Pin<Box<dyn Future<Output = Result<(Slot, Option<Box<Connection>>), Error>> + 'a>>;

enum Task<'a> {
    New,
    Asks(Asking<'a>),
    Holds(#[expect(dead_code, reason = "it is dropped")] Slot),
    Gone,
}

struct Run<'a> {
    pool: &'a Arc<Pool>,
    request: &'a Request<'a>,
    runtime: &'a tokio::runtime::Runtime,
    tasks: [Task<'a>; TASKS],
}

impl Run<'_> {
    fn may(&self, event: Event) -> bool {
        match event {
            // Tasks are alike: they begin in their order.
            Event::Poll(task) | Event::Drop(task) => match self.tasks[task] {
                Task::New => {
                    matches!(event, Event::Poll(_))
                        && (0..task).all(|before| !matches!(self.tasks[before], Task::New))
                }
                Task::Asks(_) => true,
                Task::Holds(_) => matches!(event, Event::Drop(_)),
                Task::Gone => false,
            },
            Event::TimeOut => self.tasks.iter().any(|task| matches!(task, Task::Asks(_))),
            Event::Dismiss => self.pool.shared.lock().scheduler.lane(0).waiting > 0,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Poll(task) => self.poll(task),
            Event::Drop(task) => self.tasks[task] = Task::Gone,
            Event::TimeOut => self.runtime.block_on(tokio::time::advance(Duration::from_secs(2))),
            Event::Dismiss => {
                let dismissed = self.pool.shared.lock().scheduler.dismiss_old(
                    (0, Dismissal::Overload),
                    |_| true,
                    1,
                );
                assert_eq!(dismissed, 1);
            }
        }
    }

    fn poll(&mut self, task: usize) {
        let (pool, request) = (self.pool, self.request);
        if matches!(self.tasks[task], Task::New) {
            let demand =
                Demand { lane: 0, client: task as u64 % 2, kind: 0, crowd: 0, begun: None };
            let asking = async move {
                match pool.admit_at_once(demand, request, Instant::now(), |_| true) {
                    Ok((slot, connection)) => Ok((slot, Some(connection))),
                    Err(waiting) => pool.admit(waiting).await,
                }
            };
            self.tasks[task] = Task::Asks(Box::pin(asking));
        }
        let Task::Asks(asking) = &mut self.tasks[task] else { return };
        match asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(Ok((slot, _))) => self.tasks[task] = Task::Holds(slot),
            Poll::Ready(Err(_)) => self.tasks[task] = Task::Gone,
        }
    }

    fn check(&self, order: &[Event]) {
        let holding = self.tasks.iter().filter(|task| matches!(task, Task::Holds(_))).count();
        let shared = self.pool.shared.lock();
        let LaneNow { in_use, waiting, .. } = shared.scheduler.lane(0);
        assert_eq!(shared.held.len(), holding, "{order:?}");
        assert!(in_use <= 1 && holding <= in_use, "{order:?}");
        assert!(waiting == 0 || in_use == 1, "somebody waits beside a free slot: {order:?}");
    }
}

/// Runs all orders that begin with `order`; how many there are.
fn explore(
    pool: &Arc<Pool>,
    request: &Request<'_>,
    runtime: &tokio::runtime::Runtime,
    order: &mut Vec<Event>,
) -> usize {
    let mut run = Run { pool, request, runtime, tasks: [const { Task::New }; TASKS] };
    for &event in order.iter() {
        run.happens(event);
        run.check(order);
    }
    let tasks = (0..TASKS).flat_map(|task| [Event::Poll(task), Event::Drop(task)]);
    let all = tasks.chain([Event::TimeOut, Event::Dismiss]);
    let next: Vec<Event> = all.filter(|&event| run.may(event)).collect();
    drop(run);
    {
        let shared = pool.shared.lock();
        let LaneNow { in_use, waiting, .. } = shared.scheduler.lane(0);
        assert_eq!((in_use, waiting, shared.held.len()), (0, 0, 0), "not all is back: {order:?}");
    }
    let mut orders = 1;
    if order.len() < LENGTH {
        for event in next {
            order.push(event);
            orders += explore(pool, request, runtime, order);
            order.pop();
        }
    }
    orders
}

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

fn key() -> Arc<ConnectionKey> {
    Arc::new(ConnectionKey::of_user("app"))
}

fn request<'a>(key: &'a Arc<ConnectionKey>, image: &'a Image) -> Request<'a> {
    let whose = Whose { key, credential: &Credential::Empty, proof: None };
    Request::plain(whose, image, (1, 0))
}

#[test]
fn whatever_comes_in_whatever_order_each_slot_comes_back() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let pool = pool(CONFIG);
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let orders = explore(&pool, &request, &runtime, &mut Vec::new());
    assert!(orders > 10_000, "{orders} orders");
    let metrics = pool.lane_metrics(0);
    assert!(metrics.rejected_timeout.get() > 0 && metrics.rejected_full.get() > 0);
    assert!(metrics.rejected_overload.get() > 0 && metrics.abandoned.get() > 0);
}

/// Pages that take far more than they may, beside the lanes that are there by default.
struct Pressed<'a> {
    pool: &'a Arc<Pool>,
    request: &'a Request<'a>,
    runtime: &'a tokio::runtime::Runtime,
}

impl Pressed<'_> {
    /// A batch slot, if one is to be had.
    fn batch(&self) -> Option<Slot> {
        let demand = Demand { lane: 1, client: 1, kind: 1, crowd: 1, begun: None };
        match self.pool.ask(demand, self.request, Instant::now()) {
            Asked::Granted(slot, _) => Some(slot),
            Asked::Wait(_) | Asked::Full => None,
        }
    }

    fn pass(&self, seconds: usize) {
        self.serve(seconds, 0.08);
    }

    /// Pages that take `service` seconds each.
    fn serve(&self, seconds: usize, service: f64) {
        for _ in 0..seconds * 10 {
            self.runtime.block_on(tokio::time::advance(Duration::from_millis(100)));
            (0..20).for_each(|_| self.pool.shared.lock().guard.served(service));
            self.pool.steer(|_| false, |_| Duration::MAX);
        }
    }
}

/// Eight slots.
const PRESSED: &str = "[service]\nuser = \"fairlane\"\npassword = \"x\"\n\
    [primary]\naddress = \"127.0.0.1:3306\"\nmax_connections = 9\n\
    [lanes]\ntarget = \"1ms\"\n";

#[test]
fn batch_that_never_ends_leaves_a_slot_for_the_rest_of_batch_and_takes_no_more_than_a_few() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let pool = pool(PRESSED);
    let pressed = Pressed { pool: &pool, request: &request, runtime: &runtime };
    pressed.pass(5);
    let mut reports = vec![pressed.batch().expect("one slot is batch's at the floor")];
    assert!(pressed.batch().is_none(), "the floor is one slot");
    pressed.pass(2);
    for _ in 0..10 {
        drop(pressed.batch().expect("the rest of batch goes on beside it"));
        pressed.pass(2);
    }
    for _ in 0..10 {
        reports.extend(pressed.batch());
        pressed.pass(2);
    }
    assert_eq!(reports.len(), 1 + LASTING_MAX, "ten reports");
    drop(reports);
    pressed.pass(1);
    let _one = pressed.batch().expect("one is left");
    assert!(pressed.batch().is_none(), "the floor is one slot again");
}

#[test]
fn batch_that_never_ends_gets_no_more_than_its_lane_may_have() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let lanes = "[[lane]]\nname = \"interactive\"\n[[lane]]\nname = \"batch\"\nmax = 1\n";
    let pool = pool(&format!("{PRESSED}{lanes}"));
    let pressed = Pressed { pool: &pool, request: &request, runtime: &runtime };
    let _report = pressed.batch().expect("a free slot");
    pressed.pass(5);
    assert!(pressed.batch().is_none(), "lane.max");
}

#[test]
fn pages_that_are_slow_by_themselves_are_found_so_beside_batch_that_lasts() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let pool = pool(&PRESSED.replace("target = \"1ms\"\n", ""));
    let pressed = Pressed { pool: &pool, request: &request, runtime: &runtime };
    pressed.serve(5, 0.03);
    // The first look, which may take long, sees something.
    let two = [pressed.batch().expect("a free slot"), pressed.batch().expect("a free slot")];
    pressed.serve(35, 0.03);
    drop(two);
    pressed.serve(1, 0.03);
    // Statements of twelve seconds each, of which no more end during a look than one.
    let mut batch: Vec<(usize, Slot)> =
        [4, 8, 12].map(|end| (end, pressed.batch().expect("a free slot"))).into();
    for second in (4..150).step_by(4) {
        pressed.serve(4, 0.08);
        batch.retain(|(end, _)| *end > second);
        batch.extend(pressed.batch().map(|slot| (second + 12, slot)));
    }
    let target = pool.target().expect("a baseline");
    assert!(target > Duration::from_millis(80), "{target:?}");
}

/// A slot for a page of this kind as a session would ask for it, if one is to be had.
fn page(pool: &Arc<Pool>, request: &Request<'_>, kind: u64) -> (Option<Slot>, usize) {
    let lane = usize::from(pool.is_crowded_by(kind));
    let demand = Demand { lane, client: 1, kind, crowd: kind, begun: None };
    match pool.ask(demand, request, Instant::now()) {
        Asked::Granted(slot, _) => (Some(slot), lane),
        Asked::Wait(_) | Asked::Full => (None, lane),
    }
}

/// Fourteen slots.
const WIDE: &str = "[service]\nuser = \"fairlane\"\npassword = \"x\"\n\
    [primary]\naddress = \"127.0.0.1:3306\"\nmax_connections = 15\n";

const REPORT: u64 = 5;
const CLICK: u64 = 6;

#[test]
fn a_kind_that_holds_slots_for_long_leaves_the_last_ones_to_others_while_it_does() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let pool = pool(WIDE);
    let mut reports = Vec::new();
    let pass = |milliseconds: u64| {
        for _ in 0..milliseconds / 50 {
            runtime.block_on(tokio::time::advance(Duration::from_millis(50)));
            pool.steer(|_| false, |_| Duration::MAX);
        }
    };
    for _ in 0..40 {
        let (slot, lane) = page(&pool, &request, REPORT);
        reports.extend(slot.map(|slot| (slot, lane)));
        for _ in 0..3 {
            let (click, lane) = page(&pool, &request, CLICK);
            assert!(click.is_some() && lane == 0, "beside {} reports", reports.len());
        }
        pass(50);
    }
    let granted = reports.iter().filter(|(_, lane)| *lane == 0).count();
    assert!((9..=12).contains(&reports.len()) && granted >= 8, "{} {granted}", reports.len());
    assert_eq!(pool.lanes_now()[0].0, 0, "all of them count for batch");
    let clicks: Vec<Option<Slot>> = (0..2).map(|_| page(&pool, &request, CLICK).0).collect();
    assert!(clicks.iter().all(Option::is_some), "there is room at once");
    drop((clicks, reports));
    pass(100);
    assert_eq!(page(&pool, &request, REPORT).1, 0, "it is over when they are");
}

#[test]
fn transactions_in_which_nothing_runs_are_no_crowd() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let pool = pool(WIDE);
    let held: Vec<Option<Slot>> = (0..10).map(|_| page(&pool, &request, CLICK).0).collect();
    assert!(held.iter().all(Option::is_some));
    for _ in 0..50 {
        runtime.block_on(tokio::time::advance(Duration::from_millis(100)));
        pool.steer(|_| true, |_| Duration::ZERO);
        drop(page(&pool, &request, REPORT));
        assert_eq!(page(&pool, &request, CLICK).1, 0);
    }
}

#[test]
fn a_kind_of_which_many_run_that_are_short_may_have_all_slots() {
    let runtime = paused_runtime();
    let _entered = runtime.enter();
    let (key, image) = (key(), Image::default());
    let request = request(&key, &image);
    let pool = pool(WIDE);
    let mut pages: std::collections::VecDeque<Slot> = std::collections::VecDeque::new();
    for round in 0..100 {
        let (slot, lane) = page(&pool, &request, CLICK);
        assert_eq!(lane, 0, "round {round}");
        pages.extend(slot);
        // Each takes 260 ms.
        if pages.len() == 13 {
            pages.pop_front();
        }
        runtime.block_on(tokio::time::advance(Duration::from_millis(20)));
        pool.steer(|_| false, |_| Duration::MAX);
    }
}
