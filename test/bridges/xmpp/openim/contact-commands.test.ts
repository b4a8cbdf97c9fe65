/**
 * Two neighbours with an address each at one node: contacts on openIM by the commands of an XMPP client,
 * by a text to the service, and by the roster, and what is left when an address is given back.
 */
import * as assert from 'uvu/assert'
import { silentLog } from '../../../../node/ports.ts'
import { nodeConfig } from '../../../../node/config.ts'
import { lockDataDir } from '../../../../node/data-dir.ts'
import { loadKeys } from '../../../../node/keys-file.ts'
import { OpenIMNode } from '../../../../node/openim-node.ts'
import { CliNode, eventually } from '../../../helpers/cli-node.ts'
import { suite } from '../../../helpers/harness.ts'
import { ask, hasBody, refusal, roster } from '../../../helpers/xmpp-asking.ts'
import { xml } from '../../../helpers/xmpp-client.ts'
import type { LoggedIn, LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/openim/contact-commands', { timeoutMs: 90_000 })
const commandsNs = 'http://jabber.org/protocol/commands'

let files: CliNode
let node: OpenIMNode
let house: XmppHouse
let anna: LoggedIn
let ben: LoggedIn
let unlock: () => Promise<void>
test.before(async () => {
  files = await CliNode.init('owner')
  const { dataDir } = files
  const lock = await lockDataDir(dataDir)
  unlock = () => lock.release()
  const config = nodeConfig({ name: 'owner', listenP2p: ['/ip4/127.0.0.1/tcp/0'], mdns: false })
  node = await OpenIMNode.open({ dataDir, keys: await loadKeys(dataDir), config, log: silentLog })
  await node.start()
  const { hosted } = node.bridgeHost('xmpp')
  house = await XmppHouse.open({ hosted })
  ;[anna, ben] = [await house.login('anna'), await house.login('ben')]
})
test.after(async () => {
  await house.close()
  await node.stop()
  await unlock()
  await files.remove()
})

async function command(
  who: LoggedIn, name: string, fields?: Readonly<Record<string, string>>,
): Promise<string> {
  const called = (attrs: object, ...inside: LtxElement[]): Promise<LtxElement> =>
    ask(who, 'set', xml('command', {
      xmlns: commandsNs, node: `https://openim.invalid/commands#${name}`, ...attrs,
    }, ...inside), 'a.test')
  const first = (await called({ action: 'execute' })).getChild('command')!
  if (fields === undefined) return first.toString()
  const given = Object.entries(fields).map(([field, value]) =>
    xml('field', { var: field }, xml('value', {}, value)))
  const { sessionid } = first.attrs
  const form = xml('x', { xmlns: 'jabber:x:data', type: 'submit' }, ...given)
  return (await called({ action: 'complete', sessionid }, form)).getChild('command')!.toString()
}

async function invite(who: LoggedIn): Promise<string> {
  return await eventually(async () => {
    const answer = await command(who, 'invite').catch(() => '')
    return /openim:[\w-]+/.exec(answer)?.[0]
  }, { withinMs: 20_000, what: 'the account on openIM is there' })
}

function contactsOf(who: LoggedIn): Promise<LtxElement[]> {
  return roster(who).then((items) => items.filter(({ attrs }) => attrs['jid']!.endsWith('@oim.a.test')))
}

test('an invite as a text to the service makes a contact, and what is none is answered', async () => {
  const uri = await invite(anna)
  await invite(ben)
  await ben.say('oim.a.test', 'hello?')
  await ben.find((stanza) => /^Write an invite/.test(stanza.getChildText('body') ?? ''))
  await ben.say('oim.a.test', uri)
  await ben.find((stanza) => / was asked, and is in your roster/.test(stanza.getChildText('body') ?? ''))
  const [item] = await eventually(async () => {
    const items = await contactsOf(anna)
    return items.length === 0 ? undefined : items
  }, { withinMs: 20_000, what: 'Anna has Ben in her roster' })
  await anna.say(item!.attrs['jid']!, 'hello neighbour')
  await ben.find(hasBody('hello neighbour'))
  assert.is(await refusal(command(ben, 'add', { uri, name: '' })), 'conflict')
  assert.is(await refusal(command(ben, 'add', { uri: 'openim:x', name: '' })), 'not-acceptable')
})

test('both see one safety number, and comparing it verifies', async () => {
  const digits = (text: string): string => /(\d{5} ){11}\d{5}/.exec(text)![0]
  const [hers, his] = [
    digits(await command(anna, 'safety-number', { contact: 'ben' })),
    digits(await command(ben, 'safety-number', { contact: 'anna' })),
  ]
  assert.is(hers, his)
  const wrong = hers.replace(/\d/, (one) => String((Number(one) + 1) % 10))
  assert.is(await refusal(command(ben, 'verify', { contact: 'anna', number: wrong })), 'not-acceptable')
  assert.match(await command(ben, 'verify', { contact: 'anna', number: hers }), 'anna is verified')
  assert.match(await command(ben, 'contacts'), ', verified')
  assert.match(await command(anna, 'contacts'), 'came with the invite')
})

test('a name in the roster is the petname, and who is taken out is no contact', async () => {
  const [item] = await contactsOf(ben)
  const { jid } = item!.attrs
  const set = (attrs: object): Promise<LtxElement> =>
    ask(ben, 'set', xml('query', { xmlns: 'jabber:iq:roster' }, xml('item', { jid, ...attrs })))
  await set({ name: 'Anna next door' })
  assert.match(await command(ben, 'contacts'), 'Anna next door')
  await set({ subscription: 'remove' })
  assert.match(await command(ben, 'contacts'), 'nobody yet')
  assert.equal(await contactsOf(ben), [])
})

test('an address that is given back takes its account on openIM along', async () => {
  const { hosted } = node.bridgeHost('xmpp')
  const names = async (): Promise<string[]> => (await hosted.list()).map(({ shownAs }) => shownAs).sort()
  assert.equal(await names(), ['anna', 'ben'])
  await ask(ben, 'set', xml('query', { xmlns: 'jabber:iq:register' }, xml('remove')))
  await eventually(async () => (await names()).length === 1 ? true : undefined, {
    withinMs: 20_000, what: 'Ben\'s account is gone',
  })
  assert.equal(await names(), ['anna'])
})

test.run()
