/**
 * What is said in rooms and who decides there: speech, private messages, subject, invitations, voice,
 * kick, ban, roles, affiliations, moderation, the archive, requests between occupants, the end.
 */
import * as assert from 'uvu/assert'
import { mucNs } from '../../../../bridges/xmpp/muc/names.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { bodies, codes, condition, itemOf, roomJid, RoomPlay } from '../../../helpers/room-play.ts'

const test = suite('bridges/xmpp/muc/speech-and-power')
const [ann, bob, cat] = ['ann@a.test/1', 'bob@a.test/1', 'cat@b.test/1']

/** Ann owns the room, Bob and Cat are in it. */
async function three(fields: Readonly<Record<string, string>> = {}): Promise<RoomPlay> {
  const play = await RoomPlay.open()
  await play.made(fields)
  await play.join(bob, 'Bob')
  await play.join(cat, 'Cat')
  play.taken()
  return play
}

function message(
  from: string, attrs: Readonly<Record<string, string>>, ...inside: readonly XmlElement[]
): XmlElement {
  return el(ns.client, 'message', { from, to: roomJid, ...attrs }, ...inside)
}

const body = (text: string): XmlElement => el(ns.client, 'body', {}, text)
const subject = (text: string): XmlElement => el(ns.client, 'subject', {}, text)

test('tells everybody what is said, from the nick, with the sender\'s id and the archive\'s', async () => {
  const play = await three()
  await play.say(bob, 'hello')
  for (const to of [ann, bob, cat]) {
    const [heard, ...more] = play.taken(to)
    assert.is(more.length, 0)
    const { from, id, type } = heard!.attrs
    assert.equal([from, id, type], [`${roomJid}/Bob`, 'hello', 'groupchat'])
    assert.is(heard!.child('stanza-id', ns.stanzaIds)!.attrs.by, roomJid)
  }
  await play.say('dan@a.test/1', 'from outside')
  assert.is(condition(play.taken()[0]), 'not-acceptable')
})

test('carries a private message to every device of one occupant, where the room allows it', async () => {
  const play = await three()
  await play.join('cat@b.test/2', 'Cat')
  play.taken()
  const toCat = message(bob, { to: `${roomJid}/cat`, type: 'chat' }, body('psst'))
  await play.send(toCat)
  const heard = play.taken()
  assert.equal(heard.map(({ attrs }) => [attrs.to, attrs.from]),
    [[cat, `${roomJid}/Bob`], ['cat@b.test/2', `${roomJid}/Bob`]])
  assert.ok(heard[0]!.child('x', mucNs.user))
  await play.configure({ allowpm: 'none' })
  play.taken()
  await play.send(toCat)
  assert.is(condition(play.taken(bob)[0]), 'forbidden')
  await play.send(message(bob, { to: `${roomJid}/Dan`, type: 'chat' }, body('psst')))
  assert.is(condition(play.taken(bob)[0]), 'item-not-found')
})

test('lets moderators set the subject, participants where they may', async () => {
  const play = await three()
  await play.send(message(bob, { type: 'groupchat' }, subject('coffee')))
  assert.is(condition(play.taken(bob)[0]), 'forbidden')
  await play.configure({ changesubject: '1' })
  play.taken()
  await play.send(message(bob, { type: 'groupchat' }, subject('coffee')))
  assert.is(play.taken(cat)[0]!.childText('subject'), 'coffee')
  const came = await play.join('dan@a.test/1', 'Dan')
  assert.equal([came.at(-1)!.childText('subject'), came.at(-1)!.attrs.from], ['coffee', `${roomJid}/Bob`])
})

test('gives voice to who asks for it in a moderated room', async () => {
  const play = await three({ moderatedroom: '1' })
  await play.say(bob, 'mmm')
  assert.is(condition(play.taken(bob)[0]), 'forbidden')
  const field = (name: string, value: string): XmlElement =>
    el(ns.dataForm, 'field', { var: name }, el(ns.dataForm, 'value', {}, value))
  const form = (...fields: XmlElement[]): XmlElement => el(ns.dataForm, 'x', { type: 'submit' },
    field('FORM_TYPE', mucNs.request), field('muc#role', 'participant'), ...fields)
  await play.send(message(bob, {}, form()))
  const [asked] = play.taken(ann)
  const fields = asked!.child('x', ns.dataForm)!.elements('field')
  assert.is(fields.find(({ attrs }) => attrs.var === 'muc#roomnick')!.childText('value'), 'Bob')
  const grant = form(field('muc#roomnick', 'Bob'), field('muc#request_allow', 'true'))
  await play.send(message(cat, {}, grant))
  assert.is(condition(play.taken(cat)[0]), 'forbidden')
  await play.send(message(ann, {}, grant))
  assert.is(itemOf(play.taken(cat)[0]).role, 'participant')
  await play.say(bob, 'thanks')
  assert.equal(bodies(play.taken(cat)), ['thanks'])
})

test('kicks (307) and bans (301) with reason and actor; who is banned stays out', async () => {
  const play = await three()
  assert.is(condition(await play.admin({ nick: 'Cat', role: 'none' }, bob)), 'forbidden')
  assert.is((await play.admin({ nick: 'Cat', role: 'none' })).attrs.type, 'result')
  const [kicked] = play.taken(cat)
  assert.equal([codes(kicked), kicked!.attrs.type, itemOf(kicked).role], [[307, 110], 'unavailable', 'none'])
  const actor = kicked!.child('x', mucNs.user)!.child('item')!.child('actor')
  assert.is(actor!.attrs.nick, 'Ann')
  await play.join(cat, 'Cat')
  play.taken()
  await play.admin({ jid: 'cat@b.test', affiliation: 'outcast' })
  assert.equal(codes(play.taken(cat)[0]), [301, 110])
  assert.equal(codes(play.taken(bob)[0]), [301])
  assert.is(condition((await play.join(cat, 'Cat'))[0]), 'forbidden')
  const list = await play.ask(ann, 'get', el(mucNs.admin, 'query', {}, el(mucNs.admin, 'item', {
    affiliation: 'outcast',
  })))
  const listed = list.child('query', mucNs.admin)!.elements('item')
  assert.equal(listed.map(({ attrs }) => attrs.jid), ['cat@b.test'])
  await play.admin({ jid: 'a.test', affiliation: 'outcast' })
  assert.equal(codes(play.taken(bob).at(-1)), [301, 110], 'a whole domain')
})

// Who asks, what for whom, what they are told.
const powers: readonly (readonly [string, string, Readonly<Record<string, string>>, string])[] = [
  ['an admin', bob, { nick: 'Ann', role: 'none' }, 'not-allowed'],
  ['an admin', bob, { nick: 'Ann', role: 'participant' }, 'not-allowed'],
  ['an admin', bob, { nick: 'Cat', role: 'moderator' }, 'none'],
  ['an admin', bob, { nick: 'Cat', role: 'none' }, 'none'],
  ['an admin', bob, { jid: 'cat@b.test', affiliation: 'member' }, 'none'],
  ['an admin', bob, { jid: 'cat@b.test', affiliation: 'admin' }, 'not-allowed'],
  ['an admin', bob, { jid: 'ann@a.test', affiliation: 'outcast' }, 'not-allowed'],
  ['an admin', bob, { jid: 'bob@a.test', affiliation: 'outcast' }, 'not-allowed'],
  ['an admin', bob, { nick: 'Nobody', role: 'none' }, 'item-not-found'],
  ['a participant', cat, { nick: 'Bob', role: 'none' }, 'forbidden'],
  ['a participant', cat, { jid: 'dan@a.test', affiliation: 'member' }, 'forbidden'],
  ['the owner', ann, { jid: 'ann@a.test', affiliation: 'none' }, 'conflict'],
  ['the owner', ann, { jid: 'ann@a.test', affiliation: 'outcast' }, 'conflict'],
  ['the owner', ann, { nick: 'Bob', role: 'none' }, 'none'],
  ['the owner', ann, { jid: 'bob@a.test', affiliation: 'owner' }, 'none'],
  ['the owner', ann, { jid: '@', affiliation: 'member' }, 'jid-malformed'],
  ['the owner', ann, { nick: 'Bob', role: 'king' }, 'bad-request'],
]
for (const [who, from, item, expected] of powers) {
  const what = Object.entries(item).map(([name, value]) => `${name} ${value}`).join(', ')
  test(`${who} asks for ${what}: ${expected}`, async () => {
    const play = await three()
    await play.admin({ jid: 'bob@a.test', affiliation: 'admin' })
    assert.is(condition(await play.admin(item, from)), expected)
  })
}

test('invites through the room, and makes who is invited a member where that is needed', async () => {
  const play = await three({ membersonly: '1', passwordprotectedroom: '1', roomsecret: 'earl grey' })
  const invite = el(mucNs.user, 'x', {}, el(mucNs.user, 'invite', { to: 'dan@b.test' },
    el(mucNs.user, 'reason', {}, 'tea')))
  await play.send(message(bob, {}, invite))
  assert.is(condition(play.taken(bob)[0]), 'not-acceptable', 'Bob never came in')
  await play.send(message(ann, {}, invite))
  const [asked] = play.taken('dan@b.test')
  const x = asked!.child('x', mucNs.user)!
  assert.equal([asked!.attrs.from, x.child('invite')!.attrs.from, x.childText('password')],
    [roomJid, 'ann@a.test', 'earl grey'])
  assert.is(asked!.child('x', mucNs.conference)!.attrs.jid, roomJid)
  const password = el(mucNs.muc, 'password', {}, 'earl grey')
  const decline = (to: string): XmlElement =>
    message('dan@b.test/1', {}, el(mucNs.user, 'x', {}, el(mucNs.user, 'decline', { to })))
  await play.send(decline('ann@a.test'))
  assert.ok(play.taken('ann@a.test')[0]!.child('x', mucNs.user)!.child('decline'))
  await play.send(decline('somebody@else.test'))
  assert.is(condition(play.taken('dan@b.test/1')[0]), 'item-not-found')
  assert.is(condition((await play.join('dan@b.test/1', 'Dan', password))[0]), 'none')
})

test('passes requests between occupants without their addresses, and the answers back', async () => {
  const play = await three()
  const version = el('jabber:iq:version', 'query')
  await play.send(el(ns.client, 'iq', { type: 'get', id: 'v', from: bob, to: `${roomJid}/Cat` }, version))
  const [asked] = play.taken(cat)
  assert.is(asked!.attrs.from, `${roomJid}/Bob`)
  assert.is(asked!.attrs.id!.includes('bob'), false)
  await play.send(
    el(ns.client, 'iq', { type: 'result', id: asked!.attrs.id, from: cat, to: `${roomJid}/Bob` }, version),
  )
  const [answer] = play.taken(bob)
  assert.equal([answer!.attrs.from, answer!.attrs.id, answer!.attrs.type], [`${roomJid}/Cat`, 'v', 'result'])
  await play.send(el(ns.client, 'iq', { type: 'result', id: 'made up', from: cat, to: `${roomJid}/Bob` }))
  assert.equal(play.taken(bob), [])
})

function archiveQuery(): XmlElement {
  return el(ns.mam, 'query', { queryid: 'q' })
}

test('gives its archive to who may come in, and writes a message down before it is told', async () => {
  const play = await three()
  await play.say(bob, 'one')
  await play.say(cat, 'two')
  const id = play.taken(ann)[0]!.child('stanza-id', ns.stanzaIds)!.attrs.id
  play.taken()
  assert.is((await play.ask(ann, 'set', archiveQuery())).attrs.type, 'result')
  const results = play.taken(ann).map((one) => one.child('result', ns.mam)!)
  assert.is(results[0]!.attrs.id, id)
  const inner = results.map((one) => one.child('forwarded', ns.forward)!.child('message', ns.client)!)
  assert.equal(inner.map(({ attrs }) => attrs.from), [`${roomJid}/Bob`, `${roomJid}/Cat`])
  assert.equal(bodies(inner), ['one', 'two'])
  await play.configure({ membersonly: '1' })
  assert.is(condition(await play.ask('dan@a.test/1', 'set', archiveQuery())), 'forbidden')
  await play.configure({ membersonly: '0' })
  assert.is(condition(await play.ask('dan@a.test/1', 'set', archiveQuery())), 'none')
  await play.admin({ jid: 'dan@a.test', affiliation: 'outcast' })
  assert.is(condition(await play.ask('dan@a.test/1', 'set', archiveQuery())), 'forbidden')
})

test('keeps the address of who spoke where all see it, and shows it no longer when they do not', async () => {
  const play = await three({ whois: 'anyone' })
  await play.say(bob, 'one')
  const address = async (): Promise<string | undefined> => {
    play.taken()
    await play.ask(cat, 'set', archiveQuery())
    const [result] = play.taken(cat)
    const forwarded = result!.child('result', ns.mam)!.child('forwarded', ns.forward)!
    return itemOf(forwarded.child('message', ns.client)).jid
  }
  assert.is(await address(), 'bob@a.test')
  await play.configure({ whois: 'moderators' })
  assert.is(await address(), undefined)
})

test('lets no moderator kick somebody whose affiliation is above theirs', async () => {
  const play = await three()
  await play.admin({ nick: 'Cat', role: 'moderator' })
  assert.is(condition(await play.admin({ nick: 'Bob', role: 'visitor' }, cat)), 'none')
  await play.admin({ jid: 'bob@a.test', affiliation: 'member' })
  assert.is(condition(await play.admin({ nick: 'Bob', role: 'none' }, cat)), 'not-allowed')
})

for (const [form, ask] of [
  ['of XEP-0425 0.3', (id: string): XmlElement => el(mucNs.moderate, 'moderate', { id },
    el(mucNs.retract, 'retract'), el(mucNs.moderate, 'reason', {}, 'rude'))],
  ['of 2022', (id: string): XmlElement => el(mucNs.fasten, 'apply-to', { id },
    el(mucNs.moderate0, 'moderate', {},
      el(mucNs.retract0, 'retract'), el(mucNs.moderate0, 'reason', {}, 'rude')))],
] as const) {
  test(`takes back what somebody said, for moderators (${form}), and from the archive`, async () => {
    const play = await three()
    await play.say(bob, 'rude words')
    const id = play.taken(ann)[0]!.child('stanza-id', ns.stanzaIds)!.attrs.id!
    assert.is(condition(await play.ask(cat, 'set', ask(id))), 'forbidden')
    play.taken()
    assert.is((await play.ask(ann, 'set', ask(id))).attrs.type, 'result')
    const [told] = play.taken(bob)
    assert.is(told!.child('retract', mucNs.retract)!.attrs.id, id)
    assert.is(told!.child('apply-to', mucNs.fasten)!.attrs.id, id)
    play.taken()
    await play.ask(ann, 'set', archiveQuery())
    const kept = play.taken(ann)[0]!.child('result', ns.mam)!.child('forwarded', ns.forward)!
      .child('message', ns.client)!
    assert.equal([kept.childText('body'), kept.child('retracted', mucNs.retract)?.attrs.id], [undefined, id])
    assert.is(bodies(await play.join('dan@a.test/1', 'Dan')).includes('rude words'), false)
    assert.is(condition(await play.ask(ann, 'set', ask('0000000000000000'))), 'item-not-found')
  })
}

test('takes back one\'s own message and nobody else\'s (XEP-0424)', async () => {
  const play = await three()
  await play.say(bob, 'sorry')
  const id = play.taken(ann)[0]!.child('stanza-id', ns.stanzaIds)!.attrs.id!
  const retract = el(mucNs.retract, 'retract', { id })
  await play.send(message(cat, { type: 'groupchat' }, retract))
  assert.is(bodies(await play.join('dan@a.test/1', 'Dan')).includes('sorry'), true)
  await play.send(message(bob, { type: 'groupchat' }, retract))
  assert.is(bodies(await play.join('eve@a.test/1', 'Eve')).includes('sorry'), false)
})

test('is configured by its owner alone, and found as it is', async () => {
  const play = await three()
  const query = el(mucNs.owner, 'query')
  assert.is(condition(await play.ask(bob, 'get', query)), 'forbidden')
  const shown = await play.ask(ann, 'get', query)
  assert.ok(shown.child('query', mucNs.owner)!.child('x', ns.dataForm))
  assert.is(condition(await play.configure({ whois: 'nobody' })), 'not-acceptable')
  await play.configure({ publicroom: '1', roomname: 'Tea', moderatedroom: '1' })
  const info = await play.ask(bob, 'get', el(ns.discoInfo, 'query'))
  const found = info.child('query', ns.discoInfo)!
  const features = found.elements('feature').map(({ attrs }) => attrs.var)
  for (const one of ['muc_public', 'muc_moderated', 'muc_open', 'muc_semianonymous', ns.mam]) {
    assert.is(features.includes(one), true, one)
  }
  assert.is(found.child('identity')!.attrs.name, 'Tea')
  const items = await play.ask(bob, 'get', el(ns.discoItems, 'query'), 'rooms.a.test')
  assert.equal(items.child('query', ns.discoItems)!.elements('item').map(({ attrs }) => attrs.jid), [roomJid])
})

test('is destroyed by its owner, and everybody is told where to', async () => {
  const play = await three()
  const destroy = el(mucNs.owner, 'query', {}, el(mucNs.owner, 'destroy', { jid: 'coffee@rooms.a.test' },
    el(mucNs.owner, 'reason', {}, 'no tea')))
  assert.is(condition(await play.ask(bob, 'set', destroy)), 'forbidden')
  assert.is((await play.ask(ann, 'set', destroy)).attrs.type, 'result')
  const x = play.taken(cat)[0]!.child('x', mucNs.user)!
  assert.equal([x.child('destroy')!.attrs.jid, x.child('destroy')!.childText('reason')],
    ['coffee@rooms.a.test', 'no tea'])
  assert.is(condition(await play.ask(bob, 'get', el(ns.discoInfo, 'query'))), 'item-not-found')
  assert.equal(codes((await play.join(bob, 'Bob'))[0]).includes(201), true, 'it may be made anew')
})

test.run()
