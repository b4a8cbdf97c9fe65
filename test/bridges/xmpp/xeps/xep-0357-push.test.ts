/**
 * Push (XEP-0357): clients of a real house, and a push service that is another account, which is as
 * good as a server of its own: it gets requests and answers them.
 */
import * as assert from 'uvu/assert'
import { Jid } from '../../../../bridges/xmpp/jid.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { eventually } from '../../../helpers/cli-node.ts'
import { suite } from '../../../helpers/harness.ts'
import { ask, refusal, settled } from '../../../helpers/xmpp-asking.ts'
import { xml } from '../../../helpers/xmpp-client.ts'
import type { LoggedIn, LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/xeps/xep-0357-push', { timeoutMs: 60_000 })
const pushNs = 'urn:xmpp:push:0'
const kv = memoryKv()

let house: XmppHouse
test.before(async () => { house = await XmppHouse.open({ kv }) })
test.after(() => house.close())

/** Answers every notification, as `answer` says. */
class PushService {
  readonly #session: LoggedIn

  private constructor(session: LoggedIn) {
    this.#session = session
  }

  static async open(
    name: string, answer: () => LtxElement | undefined = () => undefined,
  ): Promise<PushService> {
    const session = await house.login(name, 'service')
    session.client.on('stanza', (stanza) => {
      if (!isNotification(stanza)) return
      const { from, id } = stanza.attrs
      const problem = answer()
      const attrs = { to: from, id, type: problem === undefined ? 'result' : 'error' }
      void session.client.send(problem === undefined ? xml('iq', attrs) : xml('iq', attrs, problem))
    })
    return new PushService(session)
  }

  get jid(): string {
    return this.#session.client.jid.toString()
  }

  get told(): LtxElement[] {
    return this.#session.stanzas.filter(isNotification)
  }

  async count(wanted: number): Promise<void> {
    await this.#session.until(() => this.told.length >= wanted)
  }
}

function isNotification({ name, attrs }: LtxElement): boolean {
  return name === 'iq' && attrs['type'] === 'set'
}

/** Ends the session, and waits until the server knows. */
async function leaves(session: LoggedIn, local: string): Promise<void> {
  await session.close()
  const { host } = house.bridge
  const account = (await host.accounts.get(new Jid(local, 'a.test')))!
  await eventually(() => Promise.resolve(account.size === 0 ? true : undefined), {
    withinMs: 10_000, what: `${local} has left`,
  })
}

function enable(jid: string, node: string, ...inside: readonly LtxElement[]): LtxElement {
  return xml('enable', { xmlns: pushNs, jid, node }, ...inside)
}

test('wakes a client that is away, once, and says nothing of what came', async () => {
  const service = await PushService.open('push1')
  const [anna, ben] = [await house.login('anna', 'phone'), await house.login('ben')]
  const secret = xml('field', { var: 'secret' }, xml('value', {}, 'token'))
  const options = xml('x', { xmlns: 'jabber:x:data', type: 'submit' }, secret)
  await ask(anna, 'set', enable(service.jid, 'device-1', options))
  await ben.say('anna@a.test', 'while she is here')
  await anna.until(() => anna.texts.includes('while she is here'))
  await leaves(anna, 'anna')
  await ben.say('anna@a.test', 'nobody sees this')
  await ben.say('anna@a.test', 'nor this')
  await service.count(1)
  await settled(ben)
  assert.is(service.told.length, 1)
  const [told] = service.told
  assert.is(told!.attrs['from'], 'anna@a.test')
  const publish = told!.getChild('pubsub')!.getChild('publish')!
  assert.is(publish.attrs['node'], 'device-1')
  const notification = publish.getChild('item')!.getChild('notification', pushNs)!
  assert.is(notification.toString(), `<notification xmlns="${pushNs}"/>`)
  assert.match(told!.getChild('pubsub')!.getChild('publish-options')!.toString(), 'token')
  assert.not.match(told!.toString(), /ben|nobody/)
  // She was here: the next one wakes her again.
  const again = await house.login('anna', 'phone')
  await again.until(() => again.texts.includes('nor this'))
  await ask(again, 'set', enable(service.jid, 'device-1', options))
  await leaves(again, 'anna')
  await ben.say('anna@a.test', 'later')
  await service.count(2)
})

test('a restart forgets no registration; a service that says gone ends its own', async () => {
  const service = await PushService.open('push2', () => xml('error', { type: 'cancel' },
    xml('item-not-found', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' })))
  const [cleo, ben] = [await house.login('cleo', 'phone'), await house.login('ben', 'other')]
  await ask(cleo, 'set', enable(service.jid, 'device-2'))
  const { id } = (await house.bridge.host.accounts.record('cleo'))!
  assert.is((await kv.list({ prefix: `push/${id}/` })).length, 1)
  await leaves(cleo, 'cleo')
  await ben.say('cleo@a.test', 'hello')
  await service.count(1)
  for (let i = 0; i < 50 && (await kv.list({ prefix: `push/${id}/` })).length > 0; i++) await settled(ben)
  assert.equal(await kv.list({ prefix: `push/${id}/` }), [])
})

test('trouble of a service ends nothing, and states alone wake nobody', async () => {
  const service = await PushService.open('push3', () => xml('error', { type: 'wait' },
    xml('internal-server-error', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' })))
  const [dora, ben] = [await house.login('dora', 'phone'), await house.login('ben', 'third')]
  await ask(dora, 'set', enable(service.jid, 'device-3'))
  await leaves(dora, 'dora')
  await ben.client.send(xml('message', { to: 'dora@a.test', type: 'chat' },
    xml('received', { xmlns: 'urn:xmpp:receipts', id: 'x' })))
  await settled(ben)
  assert.is(service.told.length, 0)
  await ben.say('dora@a.test', 'now')
  await service.count(1)
  await settled(ben)
  const { id } = (await house.bridge.host.accounts.record('dora'))!
  assert.is((await kv.list({ prefix: `push/${id}/` })).length, 1)
})

test('a stream that was cut with a message on its way wakes the client', async () => {
  const service = await PushService.open('push4')
  const [fay, ben] = [await house.login('fay', 'phone'), await house.login('ben', 'fourth')]
  await ask(fay, 'set', enable(service.jid, 'device-4'))
  // It hears nothing any more, and the server does not know yet.
  fay.client._onData = () => {}
  await ben.say('fay@a.test', 'into the void')
  await settled(ben)
  assert.is(service.told.length, 0)
  fay.client.socket.socket!.destroy()
  await service.count(1)
})

test('is switched off by service and node, and refuses what cannot be', async () => {
  const emil = await house.login('emil', 'phone')
  const { id } = (await house.bridge.host.accounts.record('emil'))!
  const count = async (): Promise<number> => (await kv.list({ prefix: `push/${id}/` })).length
  for (const node of ['one', 'two', 'three']) await ask(emil, 'set', enable('push.example', node))
  assert.is(await count(), 3)
  await ask(emil, 'set', xml('disable', { xmlns: pushNs, jid: 'push.example', node: 'two' }))
  assert.is(await count(), 2)
  await ask(emil, 'set', xml('disable', { xmlns: pushNs, jid: 'push.example' }))
  assert.is(await count(), 0)
  assert.is(await refusal(ask(emil, 'set', enable('', 'one'))), 'bad-request')
  assert.is(await refusal(ask(emil, 'set', enable('push.example', 'x'.repeat(2_000)))), 'not-acceptable')
  assert.is(await refusal(ask(emil, 'set', enable('push.example', 'one'), 'owner@a.test')), 'forbidden')
})

test.run()
