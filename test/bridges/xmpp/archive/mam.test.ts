/**
 * The query language of archives: what is understood, what is refused and with which condition, how a
 * page is told; and which messages are kept at all.
 */
import * as assert from 'uvu/assert'
import { isArchivable } from '../../../../bridges/xmpp/archive/archivable.ts'
import { Archive } from '../../../../bridges/xmpp/archive/archive.ts'
import { answerQuery, archiveMetadata, parseQuery } from '../../../../bridges/xmpp/archive/mam.ts'
import type { MamAnswer } from '../../../../bridges/xmpp/archive/mam.ts'
import { Jid } from '../../../../bridges/xmpp/jid.ts'
import { xmppLimits } from '../../../../bridges/xmpp/limits.ts'
import { StanzaError } from '../../../../bridges/xmpp/stanza-errors.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { readElement } from '../../../../bridges/xmpp/xml/text.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('bridges/xmpp/archive/mam')

const me = Jid.parse('me@a.test')!
const desk = me.withResource('desk')
const bob = Jid.parse('bob@b.test')!

/** `{ start: '…' }` as the form, `set` as the result set's children. */
function query(
  fields: Readonly<Record<string, string | readonly string[]>>, ...set: XmlElement[]
): XmlElement {
  const rows = Object.entries({ FORM_TYPE: ns.mam, ...fields }).map(([name, values]) =>
    el(ns.dataForm, 'field', { var: name },
      ...[values].flat().map((value) => el(ns.dataForm, 'value', {}, value))))
  return el(ns.mam, 'query', { queryid: 'q1' },
    el(ns.dataForm, 'x', { type: 'submit' }, ...rows), el(ns.rsm, 'set', {}, ...set))
}

const rsm = (name: string, text = ''): XmlElement => el(ns.rsm, name, {}, text)

async function filled(count: number): Promise<{
  archive: Archive, ids: string[], ask: (asked: XmlElement) => Promise<MamAnswer>,
}> {
  const clock = new VirtualClock(Date.parse('2026-03-01T12:00:00Z'))
  const kv = memoryKv(clock)
  const archive = new Archive({ kv, clock })
  const ids: string[] = []
  for (let i = 0; i < count; i++) {
    const id = archive.nextId('me')
    const ends = { from: bob.bare, to: me.bare }
    const message = el(ns.client, 'message', ends, el(ns.client, 'body', {}, `${i}`))
    await kv.write(archive.operations('me', { id, peer: bob, message }))
    ids.push(id)
    await clock.advance(1_000)
  }
  return { archive, ids, ask: (asked) => answerQuery(archive, asked, { owner: 'me', from: me, to: desk }) }
}

function idsOf({ messages }: MamAnswer): (string | undefined)[] {
  return messages.map((message) => message.child('result', ns.mam)?.attrs.id)
}

async function refused(work: () => unknown): Promise<string> {
  try {
    await work()
  } catch (error) {
    if (error instanceof StanzaError) return error.condition
    throw error
  }
  return 'nothing'
}

test('wraps each message with its id, its time and the id of the query', async () => {
  const { ids, ask } = await filled(1)
  const { messages: [message], fin } = await ask(query({}))
  assert.equal(message?.attrs, { from: me.bare, to: desk.toString() })
  const result = message!.child('result', ns.mam)!
  assert.equal(result.attrs, { id: ids[0], queryid: 'q1' })
  const forwarded = result.child('forwarded', ns.forward)!
  assert.is(forwarded.child('delay', ns.delay)?.attrs.stamp, '2026-03-01T12:00:00.000Z')
  assert.is(forwarded.child('message', ns.client)?.childText('body'), '0')
  assert.is(fin.attrs.complete, 'true')
  assert.is(fin.child('set', ns.rsm)?.childText('first'), ids[0])
})

test('asks for the last page, the page before it, and one turned round', async () => {
  const { ids, ask } = await filled(7)
  const last = await ask(query({}, rsm('max', '3'), rsm('before')))
  assert.equal(idsOf(last), ids.slice(4))
  assert.is(last.fin.attrs.complete, undefined)
  assert.equal(idsOf(await ask(query({}, rsm('max', '3'), rsm('before', ids[4])))), ids.slice(1, 4))
  const turned = await ask(query({}, rsm('max', '3')).plus(el(ns.mam, 'flip-page')))
  assert.equal(idsOf(turned), ids.slice(0, 3).reverse())
})

test('takes times in any zone, both ends inclusive, and times far away', async () => {
  const { ids, ask } = await filled(5)
  const inside = query({ start: '2026-03-01T14:00:01+02:00', end: '2026-03-01T12:00:03Z' })
  assert.equal(idsOf(await ask(inside)), ids.slice(1, 4))
  const always = query({ start: '0000-01-01T00:00:00Z', end: '9999-12-31T23:59:59.999Z' })
  assert.equal(idsOf(await ask(always)), ids)
  assert.equal(idsOf(await ask(query({ start: '9999-12-31T23:59:59-14:00' }))), [])
  assert.equal(idsOf(await ask(query({ end: '0001-01-01T00:00:00Z' }))), [])
})

test('joins ids with the other filters and with the page', async () => {
  const { ids, ask } = await filled(5)
  const named = [ids[4]!, ids[0]!, ids[2]!, ids[2]!]
  assert.equal(idsOf(await ask(query({ ids: named }))), [ids[0], ids[2], ids[4]])
  assert.equal(idsOf(await ask(query({ ids: named, with: 'carol@c.test' }))), [])
  assert.equal(idsOf(await ask(query({ ids: named, 'after-id': ids[0]! }, rsm('max', '1')))), [ids[2]])
})

test('bounds the page whatever is asked for', async () => {
  const { ids, ask } = await filled(xmppLimits.archivePageMax + 20)
  for (const [max, count] of [
    ['100000', xmppLimits.archivePageMax], ['99999999999999999999', xmppLimits.archivePageDefault],
    ['-1', xmppLimits.archivePageDefault], ['1e9', xmppLimits.archivePageDefault], ['0', 0],
  ] as const) {
    assert.equal(idsOf(await ask(query({}, rsm('max', max)))), ids.slice(0, count), max)
  }
  const tooMany = Array.from({ length: xmppLimits.archiveIdsMax + 1 }, () => ids[0]!)
  assert.is(await refused(() => ask(query({ ids: tooMany }))), 'policy-violation')
})

test('says item-not-found for an id that is not there, wherever it stands', async () => {
  const { ask } = await filled(2)
  for (const id of ['0'.repeat(16), 'nonsense', '../x', '%00', 'f'.repeat(5_000)]) {
    assert.is(await refused(() => ask(query({}, rsm('before', id)))), 'item-not-found', id)
    assert.is(await refused(() => ask(query({}, rsm('after', id)))), 'item-not-found', id)
    for (const field of ['ids', 'before-id', 'after-id']) {
      assert.is(await refused(() => ask(query({ [field]: id }))), 'item-not-found', field)
    }
  }
})

test('refuses what it does not understand with the condition that the XEP gives it', async () => {
  const unknown = query({ '{urn:example}withtext': 'tea' })
  assert.is(await refused(() => parseQuery(unknown)), 'feature-not-implemented')
  assert.is(await refused(() => parseQuery(query({ FORM_TYPE: 'urn:other' }))), 'bad-request')
  assert.is(await refused(() => parseQuery(query({ with: '@' }))), 'jid-malformed')
  for (const start of ['', 'yesterday', '2026-13-01T00:00:00Z', '2026-03-01', '+275761-01-01T00:00:00Z']) {
    assert.is(await refused(() => parseQuery(query({ start }))), 'bad-request', start)
  }
})

test('tells the first and the last of an archive', async () => {
  const { archive, ids } = await filled(3)
  const metadata = await archiveMetadata(archive, 'me')
  assert.equal(metadata.child('start')?.attrs, { id: ids[0], timestamp: '2026-03-01T12:00:00.000Z' })
  assert.equal(metadata.child('end')?.attrs, { id: ids[2], timestamp: '2026-03-01T12:00:02.000Z' })
  assert.equal((await archiveMetadata(archive, 'nobody')).children, [])
})

/** What is kept (+) and what is not (-): attributes, content. */
const archivable = `
  + type='chat'      | <body>hello</body>
  +                  | <body>hello</body>
  + type='chat'      | <encrypted xmlns='eu.siacs.conversations.axolotl'/>
  + type='chat'      | <encrypted xmlns='urn:xmpp:omemo:2'/><store xmlns='urn:xmpp:hints'/>
  +                  | <received xmlns='urn:xmpp:receipts' id='1'/>
  +                  | <displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>
  +                  | <reactions xmlns='urn:xmpp:reactions:0' id='1'/>
  +                  | <retract xmlns='urn:xmpp:message-retract:1' id='1'/>
  +                  | <x xmlns='jabber:x:conference' jid='tea@rooms.b.test'/>
  +                  | <x xmlns='http://jabber.org/protocol/muc#user'><invite from='bob@b.test'/></x>
  + type='chat'      | <active xmlns='http://jabber.org/protocol/chatstates'/><body>hello</body>
  - type='chat'      | <composing xmlns='http://jabber.org/protocol/chatstates'/>
  - type='error'     | <body>hello</body>
  - type='groupchat' | <body>hello</body>
  - type='headline'  | <body>news</body>
  - type='error'     | <body>hello</body><store xmlns='urn:xmpp:hints'/>
  - type='chat'      | <body>hello</body><no-store xmlns='urn:xmpp:hints'/>
  - type='chat'      | <body>hello</body><no-permanent-store xmlns='urn:xmpp:hints'/>
  -                  | <subject>tea</subject>
  -                  |
`

test('keeps what a person would miss on another device', () => {
  for (const row of archivable.trim().split('\n')) {
    const [head = '', content = ''] = row.split('|')
    const [sign, attrs] = [head.trim()[0], head.trim().slice(1)]
    const message = readElement(`<message xmlns='jabber:client'${attrs}>${content.trim()}</message>`)
    assert.is(isArchivable(message!), sign === '+', row)
  }
})

test.run()
