//! Publish/subscribe.

use super::prelude::*;
use crate::session::{Client, Kind};

const PUBSUB: Group = Group { name: "pubsub", op: "pubsub", category: Category::PUBSUB };

pub const COMMANDS: &[Command] = &[
    SUBSCRIBE,
    UNSUBSCRIBE,
    PSUBSCRIBE,
    PUNSUBSCRIBE,
    PUBLISH,
    SSUBSCRIBE,
    SUNSUBSCRIBE,
    SPUBLISH,
    PUBSUB_CHANNELS,
    PUBSUB_NUMSUB,
    PUBSUB_NUMPAT,
    PUBSUB_SHARDCHANNELS,
    PUBSUB_SHARDNUMSUB,
    super::help::row(PUBSUB, "PUBSUB HELP", "pubsub.help", "6.2.0"),
];

const FLAGS: Flags = Flags::PUBSUB.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::SUBSCRIBER);

#[derive(Args)]
pub struct Subscribe<'a> {
    /// Channels to listen to.
    channels: Many<'a, Channel<'a>>,
}

impl SessionCommand for Subscribe<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        fits(cx, self.channels.iter().count())?;
        for Channel(channel) in self.channels.iter() {
            listen(cx, Kind::Channel, channel, reply);
        }
        Ok(Flow::Done)
    }
}

#[derive(Args)]
pub struct PSubscribe<'a> {
    /// Patterns of channels to listen to.
    patterns: Many<'a, Channel<'a, true>>,
}

impl SessionCommand for PSubscribe<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        fits(cx, self.patterns.iter().count())?;
        for Channel(pattern) in self.patterns.iter() {
            listen(cx, Kind::Pattern, pattern, reply);
        }
        Ok(Flow::Done)
    }
}

/// EXEC announces one answer for each call, and each channel is confirmed by one.
fn fits(cx: &SessionCx<'_, '_, '_>, confirmations: usize) -> Result<()> {
    if cx.is_inside() && confirmations > 1 {
        return Err(Error::err("only one channel at a time inside a transaction"));
    }
    Ok(())
}

fn listen(cx: &mut SessionCx<'_, '_, '_>, kind: Kind, name: &[u8], reply: &mut dyn Reply) {
    let channels = &cx.state().channels;
    let session = cx.session();
    channels.subscribe(&session.client.clone(), &mut session.subscriptions, kind, name);
    confirm(reply, kind, true, Some(name), session.subscriptions.count(kind));
}

/// Each subscription is confirmed by a push of its own.
fn confirm(reply: &mut dyn Reply, kind: Kind, joined: bool, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.text(match (kind, joined) {
        (Kind::Channel, true) => "subscribe",
        (Kind::Channel, false) => "unsubscribe",
        (Kind::Pattern, true) => "psubscribe",
        (Kind::Pattern, false) => "punsubscribe",
        (Kind::Shard, true) => "ssubscribe",
        (Kind::Shard, false) => "sunsubscribe",
        (Kind::Key | Kind::KeyPattern, _) => unreachable!("no command listens to keys"),
    });
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}

pub const SUBSCRIBE: Command = Command {
    name: "SUBSCRIBE",
    op: "pubsub.subscribe",
    since: "2.0.0",
    summary: "Listens to channels.",
    complexity: "O(N) for N channels",
    tool: Tool::Never,
    flags: FLAGS.and(Flags::RESP_ONLY),
    ..PUBSUB.session::<Subscribe>()
};

pub const PSUBSCRIBE: Command = Command {
    name: "PSUBSCRIBE",
    op: "pubsub.psubscribe",
    since: "2.0.0",
    summary: "Listens to all channels whose names match patterns.",
    complexity: "O(N) for N patterns",
    tool: Tool::Never,
    flags: FLAGS.and(Flags::RESP_ONLY),
    ..PUBSUB.session::<PSubscribe>()
};

#[derive(Args)]
pub struct Unsubscribe<'a> {
    /// Channels to leave; all when left out.
    channels: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for Unsubscribe<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        leave(cx, Kind::Channel, self.channels, reply)
    }
}

#[derive(Args)]
pub struct PUnsubscribe<'a> {
    /// Patterns to leave; all when left out.
    patterns: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for PUnsubscribe<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        leave(cx, Kind::Pattern, self.patterns, reply)
    }
}

fn leave(
    cx: &mut SessionCx<'_, '_, '_>,
    kind: Kind,
    names: Option<Many<'_, Word<'_>>>,
    reply: &mut dyn Reply,
) -> Result<Flow> {
    let channels = &cx.state().channels;
    let is_inside = cx.is_inside();
    let names: Vec<Vec<u8>> = match names {
        Some(names) => names.iter().map(<[u8]>::to_vec).collect(),
        None => cx.session().subscriptions.list(kind).iter().map(|name| name.to_vec()).collect(),
    };
    fits(cx, names.len())?;
    let session = cx.session();
    if names.is_empty() {
        confirm(reply, kind, false, None, session.subscriptions.count(kind));
    }
    for name in names {
        channels.unsubscribe(&session.client.clone(), &mut session.subscriptions, kind, &name);
        // What came before we left is heard before the confirmation, nothing after it. Not so in the middle of the
        // array that EXEC answers, where it would be taken for an element.
        if !is_inside && session.client.has_mail() {
            Client::take_mail(session, reply);
        }
        confirm(reply, kind, false, Some(&name), session.subscriptions.count(kind));
    }
    Ok(Flow::Done)
}

pub const UNSUBSCRIBE: Command = Command {
    name: "UNSUBSCRIBE",
    op: "pubsub.unsubscribe",
    since: "2.0.0",
    summary: "Leaves channels.",
    complexity: "O(N) for N channels",
    tool: Tool::Never,
    flags: FLAGS.and(Flags::RESP_ONLY),
    ..PUBSUB.session::<Unsubscribe>()
};

pub const PUNSUBSCRIBE: Command = Command {
    name: "PUNSUBSCRIBE",
    op: "pubsub.punsubscribe",
    since: "2.0.0",
    summary: "Leaves patterns of channels.",
    complexity: "O(N) for N patterns",
    tool: Tool::Never,
    flags: FLAGS.and(Flags::RESP_ONLY),
    ..PUBSUB.session::<PUnsubscribe>()
};

#[derive(Args)]
pub struct Publish<'a> {
    /// Where to.
    channel: Channel<'a>,
    /// Bytes to send.
    message: Word<'a>,
}

impl SessionCommand for Publish<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let count = cx.publish(Kind::Channel, self.channel.0, self.message);
        reply.int(count as i64);
        Ok(Flow::Done)
    }
}

pub const PUBLISH: Command = Command {
    name: "PUBLISH",
    op: "pubsub.publish",
    since: "2.0.0",
    summary: "Sends a message to all who listen to a channel.",
    complexity: "O(N+M) for N listeners of the channel and M patterns",
    returns: Shape::int("receivers", "Clients that it was sent to."),
    flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::MAY_REPLICATE),
    ..PUBSUB.session::<Publish>()
};

#[derive(Args)]
pub struct SSubscribe<'a> {
    /// Shard channels to listen to.
    shardchannels: Many<'a, Channel<'a>>,
}

impl SessionCommand for SSubscribe<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        if cx.is_inside() {
            return Err(Error::err("SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
        }
        for Channel(channel) in self.shardchannels.iter() {
            listen(cx, Kind::Shard, channel, reply);
        }
        Ok(Flow::Done)
    }
}

pub const SSUBSCRIBE: Command = Command {
    name: "SSUBSCRIBE",
    op: "pubsub.ssubscribe",
    since: "7.0.0",
    summary: "Listens to shard channels.",
    complexity: "O(N) for N channels",
    tool: Tool::Never,
    flags: FLAGS.and(Flags::RESP_ONLY),
    ..PUBSUB.session::<SSubscribe>()
};

#[derive(Args)]
pub struct SUnsubscribe<'a> {
    /// Shard channels to leave; all when left out.
    shardchannels: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for SUnsubscribe<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        leave(cx, Kind::Shard, self.shardchannels, reply)
    }
}

pub const SUNSUBSCRIBE: Command = Command {
    name: "SUNSUBSCRIBE",
    op: "pubsub.sunsubscribe",
    since: "7.0.0",
    summary: "Leaves shard channels.",
    complexity: "O(N) for N channels",
    tool: Tool::Never,
    flags: FLAGS.and(Flags::RESP_ONLY),
    ..PUBSUB.session::<SUnsubscribe>()
};

#[derive(Args)]
pub struct SPublish<'a> {
    /// Where to.
    shardchannel: Channel<'a>,
    /// Bytes to send.
    message: Word<'a>,
}

impl SessionCommand for SPublish<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let count = cx.publish(Kind::Shard, self.shardchannel.0, self.message);
        reply.int(count as i64);
        Ok(Flow::Done)
    }
}

pub const SPUBLISH: Command = Command {
    name: "SPUBLISH",
    op: "pubsub.spublish",
    since: "7.0.0",
    summary: "Sends a message to all who listen to a shard channel.",
    complexity: "O(N) for N listeners of the channel",
    returns: Shape::int("receivers", "Clients that it was sent to."),
    flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::MAY_REPLICATE),
    ..PUBSUB.session::<SPublish>()
};

/// What only looks at subscriptions.
const LOOKS: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::LOOKS);

#[derive(Args)]
pub struct Active<'a> {
    /// Only channels that match it.
    pattern: Option<Word<'a>>,
}

impl Active<'_> {
    fn write(self, cx: &SessionCx<'_, '_, '_>, kind: Kind, reply: &mut dyn Reply) {
        let channels = cx.state().channels.active(kind, self.pattern);
        reply.array(channels.len());
        channels.iter().for_each(|channel| reply.bulk(channel));
    }
}

const ACTIVE: Shape = Shape::array("channels", "Those that have listeners.", &Shape::BYTES);

#[derive(Args)]
pub struct PubsubChannels<'a>(Active<'a>);

impl SessionCommand for PubsubChannels<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.write(cx, Kind::Channel, reply);
        Ok(Flow::Done)
    }
}

pub const PUBSUB_CHANNELS: Command = Command {
    name: "PUBSUB CHANNELS",
    op: "pubsub.channels",
    since: "2.8.0",
    summary: "Lists the channels that somebody listens to.",
    complexity: "O(N) for N channels",
    returns: ACTIVE,
    flags: LOOKS,
    ..PUBSUB.session::<PubsubChannels>()
};

#[derive(Args)]
pub struct PubsubShardChannels<'a>(Active<'a>);

impl SessionCommand for PubsubShardChannels<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.write(cx, Kind::Shard, reply);
        Ok(Flow::Done)
    }
}

pub const PUBSUB_SHARDCHANNELS: Command = Command {
    name: "PUBSUB SHARDCHANNELS",
    op: "pubsub.shardchannels",
    since: "7.0.0",
    summary: "Lists the shard channels that somebody listens to.",
    complexity: "O(N) for N channels",
    returns: ACTIVE,
    flags: LOOKS,
    ..PUBSUB.session::<PubsubShardChannels>()
};

#[derive(Args)]
pub struct Listeners<'a> {
    /// Channels to count the listeners of; patterns are not counted.
    channels: Option<Many<'a, Word<'a>>>,
}

impl Listeners<'_> {
    fn write(self, cx: &SessionCx<'_, '_, '_>, kind: Kind, reply: &mut dyn Reply) {
        let names = || self.channels.iter().flat_map(|names| names.iter());
        reply.array(names().count() * 2);
        for name in names() {
            reply.bulk(name);
            reply.int(cx.state().channels.listeners(kind, name) as i64);
        }
    }
}

const LISTENERS: Shape = Shape::array(
    "listeners",
    "Names and numbers in turn.",
    &Shape::one_of("", "", &[Shape::BYTES, Shape::int("", "")]),
);

#[derive(Args)]
pub struct PubsubNumSub<'a>(Listeners<'a>);

impl SessionCommand for PubsubNumSub<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.write(cx, Kind::Channel, reply);
        Ok(Flow::Done)
    }
}

pub const PUBSUB_NUMSUB: Command = Command {
    name: "PUBSUB NUMSUB",
    op: "pubsub.numsub",
    since: "2.8.0",
    summary: "Tells how many listen to channels.",
    complexity: "O(N) for N channels",
    returns: LISTENERS,
    flags: LOOKS,
    ..PUBSUB.session::<PubsubNumSub>()
};

#[derive(Args)]
pub struct PubsubShardNumSub<'a>(Listeners<'a>);

impl SessionCommand for PubsubShardNumSub<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.write(cx, Kind::Shard, reply);
        Ok(Flow::Done)
    }
}

pub const PUBSUB_SHARDNUMSUB: Command = Command {
    name: "PUBSUB SHARDNUMSUB",
    op: "pubsub.shardnumsub",
    since: "7.0.0",
    summary: "Tells how many listen to shard channels.",
    complexity: "O(N) for N channels",
    returns: LISTENERS,
    flags: LOOKS,
    ..PUBSUB.session::<PubsubShardNumSub>()
};

#[derive(Args)]
pub struct PubsubNumPat;

impl SessionCommand for PubsubNumPat {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.int(cx.state().channels.pattern_count() as i64);
        Ok(Flow::Done)
    }
}

pub const PUBSUB_NUMPAT: Command = Command {
    name: "PUBSUB NUMPAT",
    op: "pubsub.numpat",
    since: "2.8.0",
    summary: "Tells how many patterns somebody listens to.",
    returns: Shape::int("patterns", "Different ones."),
    flags: LOOKS,
    ..PUBSUB.session::<PubsubNumPat>()
};

#[cfg(test)]
mod tests {
    use crate::session::Client;
    use crate::testing::{TestEngine, Text, call_as};

    #[test]
    fn shard_channels_are_apart_from_channels() {
        let mut test = TestEngine::default();
        let mut listener = test.another();
        for words in [[&b"SSUBSCRIBE"[..], b"c"], [b"PSUBSCRIBE", b"*"]] {
            call_as(&test.engine, &mut listener, &words);
        }
        test.check(
            "SPUBLISH c 1 => 1
            SPUBLISH d 1 => 0
            PUBLISH c 2 => 1
            PUBSUB CHANNELS => []
            PUBSUB SHARDCHANNELS => [\"c\"]
            PUBSUB SHARDCHANNELS d* => []
            PUBSUB NUMSUB c => [\"c\", 0]
            PUBSUB SHARDNUMSUB c d => [\"c\", 1, \"d\", 0]
            PUBSUB NUMPAT => 1
            PUBSUB NUMSUB => []",
        );
        let mut text = Text::new(true);
        Client::take_mail(&mut listener, &mut text);
        assert_eq!(text.out, "[\"smessage\", \"c\", \"1\"]\n[\"pmessage\", \"*\", \"c\", \"2\"]");
        assert!(test.call("CLIENT LIST").contains("sub=0 psub=1 ssub=1"));
        // Shard channels are counted by themselves.
        assert_eq!(call_as(&test.engine, &mut listener, &[b"SUNSUBSCRIBE"]), r#"["sunsubscribe", "c", 0]"#);
        assert_eq!(call_as(&test.engine, &mut listener, &[b"SUNSUBSCRIBE"]), r#"["sunsubscribe", nil, 0]"#);
        assert_eq!(call_as(&test.engine, &mut listener, &[b"PUNSUBSCRIBE"]), r#"["punsubscribe", "*", 0]"#);
        test.check("PUBSUB SHARDCHANNELS => []\n MULTI => OK\n SSUBSCRIBE c => QUEUED");
        test.check("EXEC => [-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client]");
        test.check_twin();
        test.engine.leave(&mut listener);
    }
}
