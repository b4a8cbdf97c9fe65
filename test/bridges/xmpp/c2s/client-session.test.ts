/**
 * Sessions that outlive their streams (XEP-0198): what is counted, when it is acknowledged, how a client
 * comes back, and what becomes of the rest; and clients whose screen is dark (XEP-0352).
 */
import * as assert from 'uvu/assert'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { ScriptedServer } from '../../../helpers/scripted-stream.ts'
import type { ScriptedStream } from '../../../helpers/scripted-stream.ts'

const test = suite('bridges/xmpp/c2s/client-session')

const enable = el(ns.sm, 'enable', { resume: 'true' })
const request = el(ns.sm, 'r')
const minuteMs = 60_000

function ack(h: number): XmlElement {
  return el(ns.sm, 'a', { h: String(h) })
}

function message(body: string, attrs: Record<string, string> = { to: 'bob@a.test' }): XmlElement {
  return el(ns.client, 'message', attrs, el(ns.client, 'body', {}, body))
}

/** Bodies of messages, counts of acknowledgements, names of all else. */
function seen(elements: readonly XmlElement[]): string[] {
  return elements.map((one) => one.childText('body') ?? (one.name === 'a' ? `a ${one.attrs.h}` : one.name))
}

function conditionOf(element: XmlElement | undefined): string | undefined {
  return element?.elements().at(0)?.name ?? element?.childOf(ns.stanzaErrors)?.name
}

interface Logged {
  readonly stream: ScriptedStream
  readonly previd: string
}

class Scene extends ScriptedServer {
  readonly #passwords = new Map<string, string>()

  async loggedIn(local: string): Promise<ScriptedStream> {
    const password = this.#passwords.get(local) ?? await this.password(local)
    this.#passwords.set(local, password)
    const stream = this.connect()
    await stream.login(local, password)
    await stream.says()
    return stream
  }

  /** With a resource; counts unless it says otherwise. */
  async online(local: string, asked: XmlElement | null = enable): Promise<Logged> {
    const stream = await this.loggedIn(local)
    await stream.bind('phone')
    const [enabled] = asked === null ? [] : await stream.says(asked)
    return { stream, previd: enabled?.attrs.id ?? '' }
  }

  async resume(
    local: string, { previd, h = 0 }: { previd: string, h?: number },
  ): Promise<[ScriptedStream, XmlElement[]]> {
    const stream = await this.loggedIn(local)
    return [stream, await stream.says(el(ns.sm, 'resume', { previd, h: String(h) }))]
  }

  toAlice(...bodies: string[]): void {
    for (const body of bodies) {
      for (const session of this.host.sessions) {
        if (session.account.local === 'alice') session.send(
          message(body, { to: 'alice@a.test' }), () => { this.host.arrived++ },
        )
      }
    }
  }
}

// ── What the client sends ───────────────────────────────────────────────────────────────────

test('counts a stanza only when the host has it durably, in order', async () => {
  const settle: (() => void)[] = []
  const receive = (): Promise<void> => new Promise((done) => settle.push(done))
  const scene = new Scene({ receive })
  const { stream } = await scene.online('alice')
  assert.equal(seen(await stream.says(request)), ['a 0'])
  assert.equal(seen(await stream.says(message('1'), message('2'), message('3'), request)), [])
  settle[2]!()
  settle[1]!()
  await scene.clock.advance(1_000)
  assert.equal(seen(await stream.says()), [])
  settle[0]!()
  assert.equal(seen(await stream.says()), ['a 3'])
})

test('acknowledges what it has when the rest takes long, and the rest when it is there', async () => {
  const settle: (() => void)[] = []
  const scene = new Scene({ receive: () => new Promise((done) => settle.push(done)) })
  const { stream } = await scene.online('alice')
  await stream.says(message('1'), message('2'), request)
  settle[0]!()
  await scene.clock.advance(5_000)
  assert.equal(seen(await stream.says()), ['a 1'])
  settle[1]!()
  assert.equal(seen(await stream.says()), ['a 2'])
})

test('ends the session without an acknowledgement when the host could not keep a stanza', async () => {
  const scene = new Scene({ receive: () => Promise.reject(new Error('the disk is full')) })
  const { stream } = await scene.online('alice')
  assert.equal(seen(await stream.says(message('1'), request)), [])
  assert.is(stream.condition, 'internal-server-error')
  assert.is(scene.errors.length, 1)
})

test('reads nothing more from a client while too much of it is being handled', async () => {
  const settle: (() => void)[] = []
  const scene = new Scene({ receive: () => new Promise((done) => settle.push(done)) })
  const { stream } = await scene.online('alice')
  await stream.says(...Array.from({ length: 256 }, (_, i) => message(`${i}`)))
  assert.ok(stream.isPaused)
  for (const done of settle.slice(0, 200)) done()
  await stream.says()
  assert.not.ok(stream.isPaused)
})

test('sends every stanza on from the client itself, and ends who speaks for another', async () => {
  const scene = new Scene()
  const bob = await scene.online('bob')
  const { stream } = await scene.online('alice')
  await stream.says(
    message('own', { to: 'bob@a.test' }),
    message('full', { to: 'bob@a.test', from: 'alice@a.test/phone' }),
    message('bare', { to: 'bob@a.test', from: 'alice@a.test' }),
  )
  const got = (await bob.stream.says()).filter(({ name }) => name === 'message')
  assert.equal(got.map(({ attrs }) => attrs.from), Array(3).fill('alice@a.test/phone'))
  for (const from of ['bob@a.test', 'alice@a.test/laptop', 'b.test', 'alice@b.test/phone', '@', '']) {
    const { stream: spoofing } = await scene.online('alice')
    await spoofing.says(message('spoofed', { to: 'bob@a.test', from }))
    assert.is(spoofing.condition, 'invalid-from', from)
  }
  assert.equal((await bob.stream.says()).filter(({ name }) => name === 'message'), [])
})

// ── What the client gets ────────────────────────────────────────────────────────────────────

test('asks for one acknowledgement at a time, and says what arrived', async () => {
  const scene = new Scene()
  const { stream } = await scene.online('alice')
  scene.toAlice('1', '2', '3')
  assert.equal(seen(await stream.says()), ['1', 'r', '2', '3'])
  assert.equal(seen(await stream.says(ack(1))), ['r'])
  assert.is(scene.host.arrived, 1)
  assert.equal(seen(await stream.says(ack(3))), [])
  assert.is(scene.host.arrived, 3)
})

test('ends a client that acknowledges more than was sent, and says how much that was', async () => {
  for (const h of [2, 4_294_967_295]) {
    const scene = new Scene()
    const { stream } = await scene.online('alice')
    scene.toAlice('1')
    await stream.says(ack(h))
    assert.is(stream.condition, 'undefined-condition')
    const { extra } = stream.ended as { extra: XmlElement }
    assert.is(extra.name, 'handled-count-too-high')
    assert.equal(extra.attrs, { h: String(h), 'send-count': '1' })
  }
})

test('refuses to count twice', async () => {
  const { stream } = await new Scene().online('alice')
  assert.equal((await stream.says(enable)).map(conditionOf), ['unexpected-request'])
  assert.is(stream.ended, undefined)
})

test('hands back what a client that does not count never saw, and nothing else', async () => {
  const scene = new Scene()
  const { stream } = await scene.online('alice', null)
  scene.toAlice('1')
  assert.equal(seen(await stream.says(request)), ['1'])
  assert.is(scene.host.arrived, 1)
  await stream.cut()
  assert.is(scene.host.ended.length, 1)
})

test('ends a session that takes nothing off its queue, and hands the queue back', async () => {
  const scene = new Scene()
  await scene.online('alice')
  scene.toAlice(...Array.from({ length: 10_001 }, (_, i) => `${i}`))
  await scene.clock.settle()
  assert.is(scene.sessions.size, 0)
  assert.is(scene.host.waiting.get('alice')!.length, 10_001)
})

test('tells who sends a lot to wait, until the client has caught up or is gone', async () => {
  for (const isEnd of [false, true]) {
    const scene = new Scene()
    const { stream } = await scene.online('alice')
    const session = stream.session!
    let isRoom = false
    const ask = (): void => { void session.room().then(() => { isRoom = true }) }
    ask()
    await stream.says()
    assert.ok(isRoom)
    scene.toAlice(...Array.from({ length: 2_000 }, (_, i) => `${i}`))
    isRoom = false
    ask()
    await stream.says(ack(100))
    assert.not.ok(isRoom)
    if (isEnd) session.close('conflict')
    else await stream.says(ack(1_000))
    await stream.says()
    assert.ok(isRoom)
  }
})

test('gives a stream up that leaves a request for an acknowledgement unanswered', async () => {
  const scene = new Scene()
  const { stream, previd } = await scene.online('alice')
  scene.toAlice('1')
  await scene.clock.advance(minuteMs)
  assert.is(stream.condition, 'connection-timeout')
  const [, got] = await scene.resume('alice', { previd })
  assert.equal(seen(got), ['resumed', '1', 'r'])
})

// ── Coming back ─────────────────────────────────────────────────────────────────────────────

test('resumes with both counts, and sends again what was not acknowledged, in order', async () => {
  const scene = new Scene()
  const { stream, previd } = await scene.online('alice')
  await stream.says(message('from alice'))
  scene.toAlice('1', '2')
  await stream.says()
  await stream.cut()
  const [session] = scene.host.sessions
  assert.ok(session!.isHibernating)
  scene.toAlice('3')
  const [again, got] = await scene.resume('alice', { previd, h: 1 })
  assert.equal(got[0]!.attrs, { previd, h: '1' })
  assert.equal(seen(got), ['resumed', '2', '3', 'r'])
  assert.is(again.session, session)
  assert.not.ok(session!.isHibernating)
  assert.is(scene.host.arrived, 1)
  assert.is(scene.host.ended.length, 0)
})

test('takes a session over from a stream that is still there, each time', async () => {
  const scene = new Scene()
  const { stream, previd } = await scene.online('alice')
  const [second, got] = await scene.resume('alice', { previd })
  assert.is(got[0]!.name, 'resumed')
  assert.is(stream.condition, 'conflict')
  await stream.cut()
  const [third] = await scene.resume('alice', { previd })
  assert.is(second.condition, 'conflict')
  assert.ok(third.session!.isCarriedBy(third))
})

test('lets one alone of two resumptions that race have the session', async () => {
  const settle: (() => void)[] = []
  const scene = new Scene({ receive: () => new Promise((done) => settle.push(done)) })
  const { stream, previd } = await scene.online('alice')
  await stream.says(message('on its way'))
  await stream.cut()
  const resume = el(ns.sm, 'resume', { previd, h: '0' })
  const streams = [await scene.loggedIn('alice'), await scene.loggedIn('alice')] as const
  for (const one of streams) assert.equal(await one.says(resume), [], 'waits for what is being handled')
  settle[0]!()
  const answers = [await streams[0].says(), await streams[1].says()] as const
  assert.is(conditionOf(answers[0][0]), 'item-not-found')
  assert.equal(answers[1][0]!.attrs, { previd, h: '1' })
  assert.is(scene.sessions.size, 1)
})

test('keeps waiting when the stream that resumes is cut meanwhile', async () => {
  const settle: (() => void)[] = []
  const scene = new Scene({ receive: () => new Promise((done) => settle.push(done)) })
  const { stream, previd } = await scene.online('alice')
  await stream.says(message('on its way'))
  await stream.cut()
  const second = await scene.loggedIn('alice')
  await second.says(el(ns.sm, 'resume', { previd, h: '0' }))
  await second.cut()
  settle[0]!()
  await scene.clock.settle()
  const [session] = scene.host.sessions
  assert.ok(session!.isHibernating)
  const [, got] = await scene.resume('alice', { previd })
  assert.is(got[0]!.name, 'resumed')
})

test('tells nobody of a session that is not theirs, and nothing of one that never was', async () => {
  const scene = new Scene()
  const { stream, previd } = await scene.online('alice')
  await stream.cut()
  for (const wrong of [previd, 'A'.repeat(32), '']) {
    const [bob, [failed]] = await scene.resume('bob', { previd: wrong })
    assert.equal(
      [failed!.name, conditionOf(failed), failed!.attrs.h], ['failed', 'item-not-found', undefined],
    )
    assert.is(bob.ended, undefined, 'it may bind instead')
  }
  const [, [bad]] = await scene.resume('alice', { previd, h: -1 })
  assert.is(conditionOf(bad), 'bad-request')
  const [high] = await scene.resume('alice', { previd, h: 7 })
  assert.is(high.condition, 'undefined-condition')
})

test('waits ten minutes for a client, then hands back what it did not acknowledge', async () => {
  const scene = new Scene()
  const { stream, previd } = await scene.online('alice')
  await stream.says(message('from alice'))
  scene.toAlice('1', '2')
  await stream.says(ack(1))
  await stream.cut()
  await scene.clock.advance(10 * minuteMs - 1)
  assert.is(scene.host.ended.length, 0)
  await scene.clock.advance(1)
  assert.is(scene.host.ended.length, 1)
  assert.equal(scene.host.waiting.get('alice')!.map((one) => one.childText('body')), ['2'])
  const [, [failed]] = await scene.resume('alice', { previd })
  assert.equal([conditionOf(failed), failed!.attrs.h], ['item-not-found', '1'])
})

test('waits no longer than the client asks, and not at all after a stream closed in order', async () => {
  const scene = new Scene()
  const { stream } = await scene.online('alice', el(ns.sm, 'enable', { resume: 'true', max: '30' }))
  await stream.cut()
  await scene.clock.advance(30_000)
  assert.is(scene.host.ended.length, 1)
  const { stream: clean } = await scene.online('alice')
  await clean.cut({ isClean: true })
  assert.is(scene.host.ended.length, 2)
  const { stream: counting, previd } = await scene.online('alice', el(ns.sm, 'enable'))
  assert.is(previd, '')
  await counting.cut()
  assert.is(scene.host.ended.length, 3)
})

test('loses and doubles nothing over a hundred cuts at any moment', async () => {
  const scene = new Scene()
  let { stream, previd } = await scene.online('alice')
  const got: string[] = []
  let handled = 0
  let sent = 0
  const take = (elements: readonly XmlElement[]): void => {
    for (const one of elements.filter(({ name }) => name === 'message')) {
      got.push(one.childText('body')!)
      handled++
    }
  }
  for (let cut = 0; cut < 100; cut++) {
    const count = scene.random.bytes(1)[0]! % 7
    for (let i = 0; i < count; i++) scene.toAlice(`${sent++}`)
    const isRead = scene.random.bytes(1)[0]! % 2 === 0
    if (isRead) take(await stream.says())
    if (isRead && scene.random.bytes(1)[0]! % 2 === 0) take(await stream.says(ack(handled)))
    await stream.cut()
    scene.toAlice(`${sent++}`)
    const [next, elements] = await scene.resume('alice', { previd, h: handled })
    stream = next
    take(elements)
  }
  assert.equal(got, Array.from({ length: sent }, (_, i) => `${i}`))
  await stream.says(ack(handled))
  assert.is(scene.host.arrived, sent)
})

test('hands back what is not acknowledged when the server stops, before it has stopped', async () => {
  const scene = new Scene()
  const { stream } = await scene.online('alice')
  const { stream: cut } = await scene.online('bob')
  await cut.cut()
  scene.toAlice('1', '2')
  await scene.sessions.stop()
  assert.is(stream.condition, 'system-shutdown')
  assert.is(scene.host.ended.length, 2)
  assert.equal(scene.host.waiting.get('alice')!.map((one) => one.childText('body')), ['1', '2'])
})

test('ends the sessions of a revoked app password, and those of no other', async () => {
  const scene = new Scene()
  const { stream } = await scene.online('alice')
  const { account, passwordId } = stream.session!
  scene.sessions.revoke(account.id, 'another')
  assert.is(stream.ended, undefined)
  scene.sessions.revoke(account.id, passwordId)
  assert.is(stream.condition, 'not-authorized')
})

// ── A dark screen ───────────────────────────────────────────────────────────────────────────

function presence(from: string, type?: string): XmlElement {
  return el(ns.client, 'presence', { from, type })
}

test('holds presence and chat states of an inactive client until something matters', async () => {
  const scene = new Scene()
  const { stream } = await scene.online('alice')
  await stream.says(el('urn:xmpp:csi:0', 'inactive'))
  const session = stream.session!
  const state = (name: string): XmlElement => el(ns.client, 'message', { from: 'bob@a.test/x', type: 'chat' },
    el('http://jabber.org/protocol/chatstates', name), el(ns.hints, 'no-store'))
  session.send(presence('bob@a.test/x'))
  session.send(state('composing'))
  session.send(presence('bob@a.test/x', 'unavailable'))
  session.send(state('paused'))
  assert.equal(await stream.says(), [])
  session.send(message('now', { from: 'bob@a.test/x' }))
  const got = (await stream.says()).filter(({ name }) => name !== 'r')
  assert.equal(seen(got), ['presence', 'message', 'now'])
  assert.equal([got[0]!.attrs.type, got[1]!.elements()[0]!.name], ['unavailable', 'paused'])
  session.send(presence('bob@a.test/x', 'subscribe'))
  assert.equal(seen(await stream.says()), ['presence'])
})

test('hands over what it held when the client is active again, and when it resumes', async () => {
  const scene = new Scene()
  const { stream, previd } = await scene.online('alice')
  const session = stream.session!
  await stream.says(el('urn:xmpp:csi:0', 'inactive'))
  session.send(presence('bob@a.test/x'))
  assert.equal(seen(await stream.says(el('urn:xmpp:csi:0', 'active'))), ['presence', 'r'])
  await stream.says(ack(1), el('urn:xmpp:csi:0', 'inactive'))
  session.send(presence('bob@a.test/y'))
  await stream.cut()
  const [again, got] = await scene.resume('alice', { previd, h: 1 })
  assert.equal(seen(got), ['resumed', 'presence', 'r'])
  session.send(presence('bob@a.test/z'))
  assert.equal(seen(await again.says()), ['presence'])
})

test.run()
