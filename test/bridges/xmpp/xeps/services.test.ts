/**
 * The small services of the domain and its accounts, as a client that nobody here wrote asks for
 * them: version, time, ping, private XML, vCards and avatars, contact addresses.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { writePieces } from '../../../../bridges/xmpp/export-file.ts'
import { Jid } from '../../../../bridges/xmpp/jid.ts'
import { xmppLimits } from '../../../../bridges/xmpp/limits.ts'
import { Reports } from '../../../../bridges/xmpp/xeps/xep-0377-reports.ts'
import { readElement } from '../../../../bridges/xmpp/xml/text.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'
import { ask, refusal, settled } from '../../../helpers/xmpp-asking.ts'
import { xml } from '../../../helpers/xmpp-client.ts'
import type { LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/xeps/services')
let house: XmppHouse
test.before(async () => {
  house = await XmppHouse.open({ bridge: { abuseAddresses: ['mailto:abuse@a.test'] } })
})
test.after(() => house.close())

const pubsub = 'http://jabber.org/protocol/pubsub'
const metadata = 'urn:xmpp:avatar:metadata'
const data = 'urn:xmpp:avatar:data'

async function item(session: Awaited<ReturnType<XmppHouse['login']>>, node: string): Promise<LtxElement> {
  const got = await ask(session, 'get', xml('pubsub', { xmlns: pubsub }, xml('items', { node })))
  return got.getChild('pubsub')!.getChild('items')!.getChild('item')!
}

test('tells its name and version, the time, and that it is there', async () => {
  const alice = await house.login('alice')
  const version = await ask(alice, 'get', xml('query', { xmlns: 'jabber:iq:version' }), 'a.test')
  assert.is(version.getChild('query')!.getChildText('name'), 'openIM')
  assert.is(version.getChild('query')!.getChild('os'), undefined)
  const time = await ask(alice, 'get', xml('time', { xmlns: 'urn:xmpp:time' }), 'a.test')
  assert.match(time.getChild('time')!.getChildText('utc')!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/)
  for (const to of ['a.test', 'alice@a.test']) {
    assert.is((await ask(alice, 'get', xml('ping', { xmlns: 'urn:xmpp:ping' }), to)).attrs['type'], 'result')
  }
})

test('says where abuse is told', async () => {
  const alice = await house.login('alice')
  const query = xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' })
  const info = await ask(alice, 'get', query, 'a.test')
  const form = info.getChild('query')!.getChild('x', 'jabber:x:data')!
  const field = form.getChildren('field').find(({ attrs }) => attrs['var'] === 'abuse-addresses')!
  assert.is(field.getChildText('value'), 'mailto:abuse@a.test')
})

test('keeps private elements, each by its name', async () => {
  const alice = await house.login('alice')
  const query = (...inside: LtxElement[]): LtxElement =>
    xml('query', { xmlns: 'jabber:iq:private' }, ...inside)
  await ask(alice, 'set', query(xml('notes', { xmlns: 'test:notes' }, 'remember')))
  const kept = await ask(alice, 'get', query(xml('notes', { xmlns: 'test:notes' })))
  assert.is(kept.getChild('query')!.getChildText('notes'), 'remember')
  const none = await ask(alice, 'get', query(xml('other', { xmlns: 'test:notes' })))
  assert.is(none.getChild('query')!.getChildText('other'), '')
})

test('makes one avatar of the vCard\'s and the published one, both ways, and says its hash', async () => {
  const [carol, dora] = [await house.login('carol'), await house.login('carol', 'second')]
  const first = Buffer.from('not quite a picture')
  const hash = createHash('sha1').update(first).digest('hex')
  const photo = xml('PHOTO', {}, xml('TYPE', {}, 'image/png'), xml('BINVAL', {}, first.toString('base64')))
  await ask(carol, 'set', xml('vCard', { xmlns: 'vcard-temp' }, xml('FN', {}, 'Carol'), photo))
  const info = (await item(carol, metadata)).getChild('metadata')!.getChild('info')!
  assert.equal([info.attrs['id'], info.attrs['bytes']], [hash, String(first.length)])
  assert.is((await item(carol, data)).getChildText('data'), first.toString('base64'))
  await dora.find((stanza) => stanza.name === 'presence'
    && stanza.getChild('x', 'vcard-temp:x:update')?.getChildText('photo') === hash)

  const second = Buffer.from('another one')
  const id = createHash('sha1').update(second).digest('hex')
  const publish = (node: string, payload: LtxElement): Promise<LtxElement> => ask(carol, 'set',
    xml('pubsub', { xmlns: pubsub }, xml('publish', { node }, xml('item', { id }, payload))))
  await publish(data, xml('data', { xmlns: data }, second.toString('base64')))
  await publish(metadata, xml('metadata', { xmlns: metadata },
    xml('info', { id, bytes: String(second.length), type: 'image/png' })))
  const card = (await ask(carol, 'get', xml('vCard', { xmlns: 'vcard-temp' }))).getChild('vCard')!
  assert.is(card.getChildText('FN'), 'Carol')
  assert.is(card.getChild('PHOTO')!.getChildText('BINVAL'), second.toString('base64'))
  await dora.find((stanza) => stanza.name === 'presence'
    && stanza.getChild('x', 'vcard-temp:x:update')?.getChildText('photo') === id)
})

test('shows one list of bookmarks to older and newer clients, and loses nothing of either', async () => {
  const frank = await house.login('frank')
  const bookmarks = 'urn:xmpp:bookmarks:1'
  const room = (id: string, ...inside: LtxElement[]): LtxElement => xml('item', { id },
    xml('conference', { xmlns: bookmarks, name: 'Tea', autojoin: 'true' },
      xml('nick', {}, 'Frank'), ...inside))
  await ask(frank, 'set', xml('pubsub', { xmlns: pubsub }, xml('publish', { node: bookmarks },
    room('tea@rooms.test', xml('extensions', {}, xml('note', { xmlns: 'test:note' }, 'kept')))),
  xml('publish-options', {}, xml('x', { xmlns: 'jabber:x:data', type: 'submit' },
    ...[['pubsub#max_items', 'max'], ['pubsub#access_model', 'whitelist']].map(([name, value]) =>
      xml('field', { var: name }, xml('value', {}, value!)))))))
  const storage = (...inside: LtxElement[]): LtxElement => xml('query', { xmlns: 'jabber:iq:private' },
    xml('storage', { xmlns: 'storage:bookmarks' }, ...inside))
  const older = async (): Promise<LtxElement> =>
    (await ask(frank, 'get', storage())).getChild('query')!.getChild('storage')!
  const [tea] = (await older()).getChildren('conference')
  assert.equal(tea!.attrs, { jid: 'tea@rooms.test', name: 'Tea', autojoin: 'true' })
  assert.is(tea!.getChildText('nick'), 'Frank')

  await ask(frank, 'set', storage(
    xml('url', { name: 'A page', url: 'https://page.test' }),
    xml('conference', { jid: 'tea@rooms.test', name: 'Tea', autojoin: 'false' }),
    xml('conference', { jid: 'chess@rooms.test', name: 'Chess' }),
  ))
  const items = async (): Promise<LtxElement[]> => (await ask(frank, 'get', xml(
    'pubsub', { xmlns: pubsub }, xml('items', { node: bookmarks }),
  ))).getChild('pubsub')!.getChild('items')!.getChildren('item')
  const found = await items()
  assert.equal(found.map(({ attrs }) => attrs['id']), ['tea@rooms.test', 'chess@rooms.test'])
  const conference = found[0]!.getChild('conference')!
  assert.is(conference.attrs['autojoin'], 'false')
  assert.is(conference.getChild('extensions')!.getChildText('note'), 'kept')
  assert.is((await older()).getChildren('url').length, 1)
  await ask(frank, 'set', storage(xml('conference', { jid: 'chess@rooms.test', name: 'Chess' })))
  assert.equal((await items()).map(({ attrs }) => attrs['id']), ['chess@rooms.test'])
})

test('keeps what was reported along with a block, for the owner of the node', async () => {
  const erin = await house.login('erin')
  const report = (reason: string): LtxElement => xml('report', { xmlns: 'urn:xmpp:reporting:1', reason },
    xml('stanza-id', { xmlns: 'urn:xmpp:sid:0', by: 'erin@a.test', id: '17' }),
    xml('text', {}, 'sells watches'))
  const block = (jid: string, ...inside: LtxElement[]): Promise<LtxElement> =>
    ask(erin, 'set', xml('block', { xmlns: 'urn:xmpp:blocking' }, xml('item', { jid }, ...inside)))
  await block('spam@else.test', report('urn:xmpp:reporting:spam'))
  await block('quiet@else.test')
  assert.is(await refusal(block('odd@else.test', report('whim'))), 'bad-request')
  const reports = await house.bridge.reports.list()
  assert.equal(reports.map(({ atMs: _, ...rest }) => rest), [{
    by: 'erin@a.test', about: 'spam@else.test', reason: 'spam', text: 'sells watches', messages: ['17'],
  }])
})

test('exports what accounts keep, whatever they wrote, and overwrites nothing', async () => {
  const grace = await house.login('grace')
  const item = xml('item', { jid: 'away@a.test', name: '</user>"\'&' })
  await ask(grace, 'set', xml('query', { xmlns: 'jabber:iq:roster' }, item))
  await ask(grace, 'set', xml('vCard', { xmlns: 'vcard-temp' }, xml('FN', {}, 'Grace')))
  await ask(grace, 'set', xml('pubsub', { xmlns: pubsub }, xml('publish', { node: 'test:node' },
    xml('item', { id: 'one' }, xml('x', { xmlns: 'test:x' }, 'published')))))
  await house.password('away')
  await grace.say('away@a.test', 'see you </offline-messages>')
  await settled(grace)
  const directory = await mkdtemp(join(tmpdir(), 'openim-export-'))
  try {
    const path = join(directory, 'accounts.xml')
    const bytes = await writePieces(path, house.bridge.exported())
    const text = await readFile(path, 'utf8')
    assert.equal([Buffer.byteLength(text), (await stat(path)).mode & 0o777], [bytes, 0o600])
    const data = readElement(text)!
    const users = data.child('host')!.elements('user')
    const [own, away] = ['grace', 'away'].map((name) => users.find(({ attrs }) => attrs.name === name)!)
    assert.is(own!.child('query', 'jabber:iq:roster')!.child('item')!.attrs.name, '</user>"\'&')
    assert.is(own!.child('vCard', 'vcard-temp')!.childText('FN'), 'Grace')
    const nodes = own!.elements('pubsub', pubsub).map((one) => one.child('items')!)
    const node = nodes.find(({ attrs }) => attrs.node === 'test:node')!
    assert.is(node.child('item')!.childText('x', 'test:x'), 'published')
    const [message] = away!.child('offline-messages')!.elements('message', 'jabber:client')
    assert.is(message!.childText('body'), 'see you </offline-messages>')
    const again = await writePieces(path, house.bridge.exported())
      .then(() => 'written', (error: { code: string }) => error.code)
    assert.is(again, 'FILE_EXISTS')
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('keeps so many reports and no more, the newest', async () => {
  const reports = new Reports({ kv: memoryKv(), clock: new VirtualClock(), random: seededRandom('reports') })
  const [by, about] = [Jid.parse('a@a.test')!, Jid.parse('b@b.test')!]
  const report = { reason: 'abuse', text: '', messages: [] } as const
  for (let i = 0; i < xmppLimits.reportsMax + 3; i++) await reports.add(by, about, report)
  assert.is((await reports.list()).length, xmppLimits.reportsMax)
})

test.run()
