/**
 * The whole server of a domain among existing ones: people of ours and of Prosody and ejabberd
 * subscribe to each other, talk, find it all in the archive, and meet in a room of the other server.
 */
import * as assert from 'uvu/assert'
import { hasEjabberd, startEjabberd } from '../helpers/ejabberd-server.ts'
import { suite } from '../helpers/harness.ts'
import { hasProsody, startProsody } from '../helpers/prosody-server.ts'
import { LoggedIn, xml } from '../helpers/xmpp-client.ts'
import type { LtxElement } from '../helpers/xmpp-client.ts'
import { XmppHouse } from '../helpers/xmpp-house.ts'
import { XmppGround } from '../helpers/xmpp-server.ts'
import type { XmppServer } from '../helpers/xmpp-server.ts'

const test = suite('interop/xmpp-neighbours', { timeoutMs: 120_000 })
const areHere = test.skipUnless(hasProsody && hasEjabberd, 'prosody or ejabberd is not installed')
const password = 'correct horse'

let ground: XmppGround
let house: XmppHouse | undefined
const guests: LoggedIn[] = []
test.before.each(async () => { ground = await XmppGround.create() })
test.after.each(async () => {
  await Promise.all(guests.splice(0).map((guest) => guest.close().catch(() => {})))
  await house?.close()
  await ground.remove()
})

async function guest(server: XmppServer): Promise<LoggedIn> {
  const { domain, ports: { c2s: port } } = server
  const session = await LoggedIn.open({ jid: `alice@${domain}`, password, port })
  guests.push(session)
  return session
}

/** Somebody there whose first message came; why a second try may be needed: xmpp-federation.test.ts. */
async function reaching(server: XmppServer, me: LoggedIn): Promise<LoggedIn> {
  const text = `first from ${server.domain}`
  const said = async (): Promise<LoggedIn | undefined> => {
    const alice = await guest(server)
    await alice.say('me@a.test', text)
    const bounce = alice.find(({ attrs }) => attrs['type'] === 'error' && attrs['id'] === text)
    await Promise.race([bounce, me.find(saying(text))])
    return me.texts.includes(text) ? alice : undefined
  }
  const alice = await said()
  if (alice !== undefined) return alice
  await server.kill()
  await server.start()
  return (await said())!
}

const saying = (text: string) => (stanza: LtxElement): boolean => stanza.getChildText('body') === text
const presence = (from: string, type?: string) => ({ name, attrs }: LtxElement): boolean =>
  name === 'presence' && attrs['from']!.startsWith(from) && attrs['type'] === type

/** Both see each other's presence. */
async function befriend(
  [one, oneJid]: readonly [LoggedIn, string],
  [other, otherJid]: readonly [LoggedIn, string],
): Promise<void> {
  await one.client.send(xml('presence', { to: otherJid, type: 'subscribe' }))
  await other.find(presence(oneJid, 'subscribe'))
  await other.client.send(xml('presence', { to: oneJid, type: 'subscribed' }))
  await other.client.send(xml('presence', { to: oneJid, type: 'subscribe' }))
  await one.find(presence(otherJid, 'subscribe'))
  await one.client.send(xml('presence', { to: otherJid, type: 'subscribed' }))
  await Promise.all([one.find(presence(`${otherJid}/`)), other.find(presence(`${oneJid}/`))])
}

async function archived(session: LoggedIn): Promise<(string | null)[]> {
  session.stanzas.length = 0
  await session.client.iqCaller.request(xml('iq', { type: 'set' }, xml('query', { xmlns: 'urn:xmpp:mam:2' })))
  return session.stanzas.filter((stanza) => stanza.getChild('result') !== undefined).map((stanza) =>
    stanza.getChild('result')!.getChild('forwarded')!.getChild('message')!.getChildText('body'))
}

areHere('people of ours and of two other servers see each other and talk, all archived', async () => {
  const servers = [
    await startProsody(ground, { domain: 'p.test', accounts: { alice: password } }),
    await startEjabberd(ground, { domain: 'e.test', accounts: { alice: password } }),
  ]
  house = await XmppHouse.open({ ground })
  const me = await house.login('me')
  const expected: string[] = []
  for (const server of servers) {
    const jid = `alice@${server.domain}`
    const alice = await reaching(server, me)
    const roster = xml('query', { xmlns: 'jabber:iq:roster' })
    await alice.client.iqCaller.request(xml('iq', { type: 'get' }, roster))
    await befriend([me, 'me@a.test'], [alice, jid])
    await me.say(jid, `to ${server.domain}`)
    await alice.find(saying(`to ${server.domain}`))
    await alice.say('me@a.test', `from ${server.domain}`)
    const got = await me.find(saying(`from ${server.domain}`))
    assert.is(got.getChild('stanza-id')?.attrs['by'], 'me@a.test')
    await alice.client.send(xml('presence', { type: 'unavailable' }))
    await me.find(presence(`${jid}/`, 'unavailable'))
    expected.push(`first from ${server.domain}`, `to ${server.domain}`, `from ${server.domain}`)
  }
  assert.equal(await archived(me), expected)
})

areHere('people of ours meet in a room of Prosody', async () => {
  await startProsody(ground, { domain: 'p.test', accounts: {} })
  house = await XmppHouse.open({ ground })
  const [me, you] = [await house.login('me'), await house.login('you')]
  const room = 'tea@conference.p.test'
  const join = (nick: string): LtxElement => xml('presence', { to: `${room}/${nick}` },
    xml('x', { xmlns: 'http://jabber.org/protocol/muc' }))
  await me.client.send(join('Me'))
  await me.find(presence(`${room}/Me`))
  const form = xml('x', { xmlns: 'jabber:x:data', type: 'submit' })
  const owner = xml('query', { xmlns: 'http://jabber.org/protocol/muc#owner' }, form)
  await me.client.iqCaller.request(xml('iq', { type: 'set', to: room }, owner))
  await you.client.send(join('You'))
  await me.find(presence(`${room}/You`))
  await you.client.send(xml('message', { to: room, type: 'groupchat' }, xml('body', {}, 'tea is ready')))
  for (const one of [me, you]) {
    const heard = await one.find(saying('tea is ready'))
    assert.is(heard.attrs['from'], `${room}/You`)
  }
  await you.close()
  await me.find(presence(`${room}/You`, 'unavailable'))
})

areHere('a user of Prosody joins a room of ours and both talk', async () => {
  const prosody = await startProsody(ground, { domain: 'p.test', accounts: { alice: password } })
  house = await XmppHouse.open({ ground })
  const [me, alice] = [await house.login('me'), await guest(prosody)]
  const room = 'tea@rooms.a.test'
  const join = (nick: string): LtxElement => xml('presence', { to: `${room}/${nick}` },
    xml('x', { xmlns: 'http://jabber.org/protocol/muc' }))
  await alice.client.send(join('Alice'))
  await alice.find(({ name, attrs }) => name === 'presence' && attrs['type'] === 'error')
  await me.client.send(join('Me'))
  await me.find(presence(`${room}/Me`))
  const form = xml('x', { xmlns: 'jabber:x:data', type: 'submit' })
  const owner = xml('query', { xmlns: 'http://jabber.org/protocol/muc#owner' }, form)
  await me.client.iqCaller.request(xml('iq', { type: 'set', to: room }, owner))
  await alice.client.send(join('Alice'))
  await me.find(presence(`${room}/Alice`))
  const said = (text: string): LtxElement =>
    xml('message', { to: room, type: 'groupchat' }, xml('body', {}, text))
  await me.client.send(said('tea is ready'))
  await alice.find(saying('tea is ready'))
  await alice.client.send(said('on my way'))
  for (const one of [me, alice]) {
    assert.is((await one.find(saying('on my way'))).attrs['from'], `${room}/Alice`)
  }
  await alice.close()
  await me.find(presence(`${room}/Alice`, 'unavailable'))
})

areHere('a domain that is not there comes back with the reason', async () => {
  house = await XmppHouse.open({ ground })
  const me = await house.login('me')
  await me.say('nobody@gone.test', 'hello?')
  const bounce = await me.find(({ attrs }) => attrs['type'] === 'error')
  assert.ok(bounce.getChild('error')!.getChild('remote-server-not-found') !== undefined, bounce.toString())
  assert.match(bounce.getChild('error')!.getChildText('text')!, /gone\.test/)
})

test.run()
