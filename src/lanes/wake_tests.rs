//! Every order in which waiters, slots, timers and the lane's own steps can follow each other.
//!
//! A small machine stands for the tasks of a pool. It runs the scheduler and the steps of `wake.rs`
//! themselves; what a task does between two of them (its timer fires, it is dropped, it reads what it
//! was told) is a step of its own, so that anything can come between. All states that can be reached
//! are visited, and from each every step is taken.
//!
//! Not covered: that a lock excludes and a channel delivers, which are those of parking_lot and tokio.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::super::scheduler::Limits;
use super::*;

/// A task that wants a slot once.
#[derive(Debug, Clone, Copy)]
struct Task {
    lane: usize,
    client: u64,
}

/// How far a task is.
#[derive(Debug)]
enum At {
    Start,
    /// In the queue since its arrival, or told and not aware of it.
    Waits,
    /// Its timer has fired; it has not said so yet.
    TimedOut,
    /// It is being dropped; its place is not left yet.
    Vanishing,
    Holds(Turn),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Enter(usize),
    Hear(usize),
    TimeOut(usize),
    GiveUp(usize),
    Drop(usize),
    Vanish(usize),
    GiveBack(usize),
    /// A slot that is held for long counts for the other lane.
    Reassign(usize),
    /// The lane dismisses who waits longest.
    Shed(usize),
    /// The guard moves the bound of the last lane between one and two.
    Bound(usize),
}

type Boxes = Rc<RefCell<Vec<Option<Told>>>>;

#[derive(Debug)]
struct Mail {
    task: usize,
    boxes: Boxes,
}

impl Wake for Mail {
    fn wake(self, told: Told) {
        let before = self.boxes.borrow_mut()[self.task].replace(told);
        assert_eq!(before, None, "task {} was told twice", self.task);
    }
}

/// Tasks before the slots of one backend.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    slots: usize,
    lanes: &'a [Limits],
    tasks: &'a [Task],
}

struct Machine<'a> {
    setting: Setting<'a>,
    scheduler: Scheduler<Mail>,
    boxes: Boxes,
    tasks: Vec<At>,
    tickets: Vec<u64>,
    bound: usize,
}

impl<'a> Machine<'a> {
    fn new(setting: Setting<'a>) -> Self {
        let count = setting.tasks.len();
        Self {
            setting,
            scheduler: Scheduler::new(setting.slots, setting.lanes),
            boxes: Rc::new(RefCell::new((0..count).map(|_| None).collect())),
            tasks: (0..count).map(|_| At::Start).collect(),
            tickets: vec![u64::MAX; count],
            bound: setting.lanes.last().map_or(0, |limits| limits.max),
        }
    }

    /// What can come next.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (task, at) in self.tasks.iter().enumerate() {
            let has_mail = self.boxes.borrow()[task].is_some();
            match at {
                At::Start => steps.push(Step::Enter(task)),
                At::Waits => {
                    // A timer is looked at only when nothing has been told.
                    steps.push(if has_mail { Step::Hear(task) } else { Step::TimeOut(task) });
                    steps.push(Step::Drop(task));
                }
                At::TimedOut => steps.push(Step::GiveUp(task)),
                At::Vanishing => steps.push(Step::Vanish(task)),
                At::Holds(turn) => {
                    steps.push(Step::GiveBack(task));
                    if turn.lane() + 1 < self.setting.lanes.len() {
                        steps.push(Step::Reassign(task));
                    }
                }
                At::Done => {}
            }
        }
        let lanes = 0..self.setting.lanes.len();
        steps.extend(lanes.filter(|&lane| self.scheduler.lane(lane).waiting > 0).map(Step::Shed));
        if self.setting.lanes.len() > 1 {
            steps.push(Step::Bound(3 - self.bound));
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enter(task) => self.enter(task),
            Step::Hear(task) => {
                let told = self.boxes.borrow_mut()[task].take();
                self.tasks[task] = hear(told);
            }
            Step::TimeOut(task) => self.tasks[task] = At::TimedOut,
            Step::GiveUp(task) => {
                let (lane, ticket) = (self.setting.tasks[task].lane, self.tickets[task]);
                let boxes = self.boxes.clone();
                let told = || boxes.borrow_mut()[task].take();
                self.tasks[task] = hear(self.scheduler.give_up(lane, ticket, told));
            }
            Step::Drop(task) => self.tasks[task] = At::Vanishing,
            Step::Vanish(task) => {
                let (lane, ticket) = (self.setting.tasks[task].lane, self.tickets[task]);
                let boxes = self.boxes.clone();
                self.scheduler.vanish(lane, ticket, || boxes.borrow_mut()[task].take());
                self.tasks[task] = At::Done;
            }
            Step::GiveBack(task) => {
                if let At::Holds(turn) = std::mem::replace(&mut self.tasks[task], At::Done) {
                    self.scheduler.give_back(turn, Duration::ZERO);
                }
            }
            Step::Reassign(task) => {
                if let At::Holds(turn) = &mut self.tasks[task] {
                    let to = turn.lane() + 1;
                    self.scheduler.reassign(turn, to, Duration::ZERO);
                    self.scheduler.wake_next();
                }
            }
            Step::Shed(lane) => {
                assert_eq!(self.scheduler.dismiss_old((lane, Dismissal::Overload), |_| true, 1), 1)
            }
            Step::Bound(bound) => {
                self.bound = bound;
                self.scheduler.set_max(self.setting.lanes.len() - 1, bound);
                self.scheduler.wake_next();
            }
        }
    }

    fn enter(&mut self, task: usize) {
        let Task { lane, client } = self.setting.tasks[task];
        let boxes = self.boxes.clone();
        let demand = Demand { lane, client, kind: 0, crowd: 0, begun: None };
        self.tasks[task] = match self.scheduler.enter(demand, || Mail { task, boxes }) {
            Admission::Granted(turn) => At::Holds(turn),
            Admission::Queued(ticket, evicted) => {
                assert!(evicted.is_none(), "who had to go was told");
                self.tickets[task] = ticket;
                At::Waits
            }
            Admission::Refused => At::Done,
        };
    }

    /// What has to hold at any moment.
    fn check(&mut self) {
        let boxes = self.boxes.borrow();
        let granted = boxes.iter().filter(|told| matches!(told, Some(Told::Granted(_)))).count();
        let holding = self.tasks.iter().filter(|at| matches!(at, At::Holds(_))).count();
        let in_use = self.scheduler.in_use();
        assert_eq!(in_use, holding + granted, "a slot is lost, kept or used twice");
        assert!(in_use <= self.setting.slots);
        let waits = |task: usize| {
            let is_there = matches!(self.tasks[task], At::Waits | At::TimedOut | At::Vanishing);
            is_there && boxes[task].is_none()
        };
        let waiting = (0..self.tasks.len()).filter(|&task| waits(task)).count();
        let queued: usize =
            (0..self.setting.lanes.len()).map(|lane| self.scheduler.lane(lane).waiting).sum();
        assert_eq!(queued, waiting, "who is gone stands in the queue, or who waits does not");
        assert!(waiting == 0 || in_use > 0, "somebody waits for nobody");
        drop(boxes);
        assert!(self.scheduler.next_grant().is_none(), "somebody waits beside a free slot");
    }

    /// All that decides what can come: how far each task is, what it was told, who came before whom.
    fn state(&self) -> String {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by_key(|&task| self.tickets[task]);
        let place = |task: usize| order.iter().position(|&of| of == task);
        let boxes = self.boxes.borrow();
        let of = |(task, at): (usize, &At)| match at {
            At::Start => "start".to_owned(),
            At::Waits => format!("waits {:?} {:?}", place(task), boxes[task]),
            At::TimedOut => format!("late {:?} {:?}", place(task), boxes[task]),
            At::Vanishing => format!("gone {:?} {:?}", place(task), boxes[task]),
            At::Holds(turn) => format!("{turn:?}"),
            At::Done => "done".to_owned(),
        };
        let tasks: Vec<String> = self.tasks.iter().enumerate().map(of).collect();
        format!("{} {tasks:?}", self.bound)
    }
}

fn hear(told: Option<Told>) -> At {
    match told {
        Some(Told::Granted(turn)) => At::Holds(turn),
        Some(Told::Dismissed(_)) | None => At::Done,
    }
}

/// Visits every state; how many there are, and steps between them.
fn explore(setting: Setting<'_>) -> (usize, usize) {
    let (mut seen, mut taken, mut ends) = (HashSet::new(), 0, 0);
    let mut open: Vec<Vec<Step>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let again = |path: &[Step]| {
            let mut machine = Machine::new(setting);
            path.iter().for_each(|&step| machine.take(step));
            machine
        };
        for step in again(&path).steps() {
            let mut machine = again(&path);
            machine.take(step);
            machine.check();
            taken += 1;
            if !seen.insert(machine.state()) {
                continue;
            }
            if machine.tasks.iter().all(|at| matches!(at, At::Done)) {
                assert_eq!(machine.scheduler.in_use(), 0, "{path:?}");
                ends += 1;
            }
            let mut longer = path.clone();
            longer.push(step);
            open.push(longer);
        }
    }
    assert!(ends > 0);
    (seen.len(), taken)
}

const fn task(lane: usize, client: u64) -> Task {
    Task { lane, client }
}

#[test]
fn one_slot_and_four_tasks_in_every_order() {
    let lanes = [Limits { reserved: 0, max: 1, queue: 9 }];
    let tasks = [task(0, 1), task(0, 1), task(0, 2), task(0, 2)];
    let (states, steps) = explore(Setting { slots: 1, lanes: &lanes, tasks: &tasks });
    assert!(states > 1000, "{states} states, {steps} steps");
}

#[test]
fn two_lanes_and_four_tasks_in_every_order() {
    let lanes =
        [Limits { reserved: 1, max: 2, queue: 9 }, Limits { reserved: 0, max: 2, queue: 9 }];
    let tasks = [task(0, 1), task(0, 1), task(1, 1), task(1, 2)];
    let (states, steps) = explore(Setting { slots: 2, lanes: &lanes, tasks: &tasks });
    assert!(states > 1000, "{states} states, {steps} steps");
}

#[test]
fn a_full_queue_and_four_tasks_in_every_order() {
    let lanes = [Limits { reserved: 0, max: 1, queue: 2 }];
    let tasks = [task(0, 1), task(0, 1), task(0, 1), task(0, 2)];
    let (states, steps) = explore(Setting { slots: 1, lanes: &lanes, tasks: &tasks });
    assert!(states > 300, "{states} states, {steps} steps");
}
