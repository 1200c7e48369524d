//! Signed requests to servers that are compared: in turn, and many at a time.

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::server::Server;
use super::signed::{Operation, Signed};

/// The operation of a number, for an instance.
pub(super) type Ask<'a> = Box<dyn Fn(u64, &str) -> Operation + 'a>;

/// Requests that a server has at a time while its processor time is measured: one that answers a
/// single client mostly goes to sleep and wakes up.
const AT_ONCE: usize = 16;

/// How long requests take, in milliseconds: one to each server in turn, so that what slows the machine
/// down for a while slows all.
pub(super) fn one_by_one(
    asks: &[(&Server, Ask<'_>)],
    numbers: std::ops::Range<u64>,
) -> Result<Vec<Vec<f64>>> {
    let mut clients = Vec::with_capacity(asks.len());
    for (server, ask) in asks {
        let mut client = Signed::connect(server)?;
        let instance_id = client.instance_id().to_owned();
        let requests: Vec<Vec<u8>> =
            numbers.clone().map(|number| client.request(&ask(number, &instance_id))).collect();
        clients.push((client, requests));
    }
    let mut times = vec![Vec::new(); asks.len()];
    for turn in 0..usize::try_from(numbers.end - numbers.start)? {
        let mut each: Vec<_> = clients.iter_mut().zip(&mut times).collect();
        // Who comes first finds other things in the processor's caches than who comes second.
        if turn % 2 == 1 {
            each.reverse();
        }
        for ((client, requests), times) in each {
            let (body, took) = client.send(requests.get(turn).context("a request")?)?;
            ensure!(body.contains("\"IsSuccess\":true"), "{body}");
            times.push(took);
        }
    }
    Ok(times)
}

/// Microseconds of the server's processor time per request while it has [`AT_ONCE`] of them.
pub(super) fn under_load(server: &Server, ask: &Ask<'_>, requests: u64) -> Result<f64> {
    let mut clients = Vec::with_capacity(AT_ONCE);
    for place in 0..AT_ONCE {
        let mut client = Signed::connect(server)?;
        let instance_id = client.instance_id().to_owned();
        let numbers = (0..requests).filter(|number| number % AT_ONCE as u64 == place as u64);
        let texts: Vec<Vec<u8>> =
            numbers.map(|number| client.request(&ask(number, &instance_id))).collect();
        clients.push((client, texts.into_iter()));
    }
    let ready = epoll::create(CreateFlags::CLOEXEC)?;
    for (place, (client, _)) in (0..).zip(&clients) {
        epoll::add(&ready, client.stream(), EventData::new_u64(place), EventFlags::IN)?;
    }
    let before = server.cpu()?;
    let (mut asked, mut answered) = (0, 0);
    for (client, texts) in &mut clients {
        if let Some(text) = texts.next() {
            client.ask(&text)?;
            asked += 1;
        }
    }
    let mut events = Vec::with_capacity(AT_ONCE);
    while answered < asked {
        // It never sleeps: to wake it up would be the server's expense.
        epoll::wait(&ready, spare_capacity(&mut events), Some(&Timespec::default()))?;
        for event in events.drain(..) {
            let place = usize::try_from(event.data.u64())?;
            let (client, texts) = clients.get_mut(place).context("an event of nobody")?;
            let body = client.answer()?;
            ensure!(body.contains("\"IsSuccess\":true"), "{body}");
            answered += 1;
            if let Some(text) = texts.next() {
                client.ask(&text)?;
                asked += 1;
            }
        }
    }
    Ok((server.cpu()? - before) / requests as f64 * 1e6)
}
