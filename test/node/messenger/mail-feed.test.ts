/**
 * Bringing mail to a device: in order, as fast as it takes it, from the start in each session, and
 * on after failures.
 */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { DeliverFrame } from '../../../protocol/frame/deliver.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { MailFeed } from '../../../node/messenger/mail-feed.ts'
import { suite } from '../../helpers/harness.ts'
import { account, InboxScene } from '../../helpers/inbox-scene.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger/mail-feed')

/** A device's session: takes a frame when `open`, and keeps the feed waiting otherwise. */
class Session {
  readonly scene: InboxScene
  readonly frames: DeliverFrame[] = []
  readonly feed: MailFeed
  waiting: (() => void)[] = []
  failures: string[] = []
  isOpen = true

  constructor(scene: InboxScene, id = 'phone') {
    this.scene = scene
    const { mailbox, clock, log } = scene.home
    this.feed = new MailFeed({ mailbox, inboxes: scene.inboxes, clock, log }, {
      account,
      id,
      send: async (frame) => {
        const failure = this.failures.shift()
        if (failure !== undefined) throw new OpenIMError(failure, 'as the test wants')
        this.frames.push(frame)
        if (!this.isOpen) await new Promise<void>((resolve) => this.waiting.push(resolve))
      },
    })
    for (const box of scene.inboxes.boxesOf(account)) {
      scene.feeds.set(box, [...scene.feeds.get(box) ?? [], this.feed])
    }
    this.feed.start()
  }

  get got(): EnvelopeId[] {
    return this.frames.flatMap((frame) => idsOf(frame.envelopes))
  }

  release(): void {
    for (const resolve of this.waiting.splice(0)) resolve()
  }
}

test('brings what waits in order of arrival, in pages that fit a frame', async () => {
  const scene = await InboxScene.open('order', { replicas: 0 })
  await scene.open()
  const small = await scene.receive(scene.inbox.envelopes(150))
  const large = await scene.receive(scene.inbox.envelopes(5, { bytes: 65_536 }))
  const session = new Session(scene)
  await scene.net.clock.advance(100)
  assert.equal(session.got, [...small, ...large])
  for (const { envelopes } of session.frames) {
    assert.ok(envelopes.length <= limits.depositItemsMax)
    const bytes = envelopes.reduce((sum, envelope) => sum + envelope.length, 0)
    assert.ok(bytes <= 160 * 1024, `${bytes} bytes`)
  }
  await scene.end()
})

test('waits for a slow device, and holds no more than one page meanwhile', async () => {
  const scene = await InboxScene.open('slow', { replicas: 0 })
  await scene.open()
  await scene.receive(scene.inbox.envelopes(300))
  const session = new Session(scene)
  session.isOpen = false
  await scene.net.clock.advance(60_000)
  assert.is(session.frames.length, 1)
  await scene.receive(scene.inbox.envelopes(300))
  await scene.net.clock.advance(60_000)
  assert.is(session.frames.length, 1)
  session.isOpen = true
  session.release()
  await scene.net.clock.advance(100)
  assert.equal(session.got, await scene.stored())
  await scene.end()
})

test('mail that arrives while a page is under way follows, once', async () => {
  const scene = await InboxScene.open('meanwhile', { replicas: 0, syncDelayMs: 2 })
  await scene.open()
  const session = new Session(scene)
  for (let i = 0; i < 50; i++) {
    await scene.receive(scene.inbox.envelopes(3))
    if (i % 7 === 0) await scene.net.clock.advance(5)
  }
  await scene.net.clock.advance(100)
  assert.equal(session.got, await scene.stored())
  await scene.end()
})

test('several inboxes take turns', async () => {
  const scene = await InboxScene.open('turns', { replicas: 0 })
  const other = new TestInbox(scene.net)
  await scene.open()
  await scene.open({}, other)
  await scene.receive(scene.inbox.envelopes(200))
  const [late] = await scene.receive(other.envelopes(1))
  const session = new Session(scene)
  await scene.net.clock.advance(100)
  assert.ok(session.got.indexOf(late!) <= 64, 'one busy contact holds up nobody')
  assert.is(session.got.length, 201)
  await scene.end()
})

test('a new session begins with what was not acknowledged; one that goes on does not repeat', async () => {
  const scene = await InboxScene.open('sessions', { replicas: 0 })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(10))
  const first = new Session(scene)
  await scene.net.clock.advance(100)
  await scene.acknowledge('phone', ids.slice(0, 4))
  first.feed.wake(scene.inbox.box)
  await scene.net.clock.advance(100)
  assert.equal(first.got, ids)
  first.feed.stop()
  const second = new Session(scene)
  await scene.net.clock.advance(100)
  assert.equal(second.got, ids.slice(4))
  await scene.end()
})

test('each device gets what it has not acknowledged itself', async () => {
  const scene = await InboxScene.open('devices', { replicas: 0, devices: ['phone', 'tablet'] })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(6))
  await scene.acknowledge('phone', ids.slice(0, 3))
  const phone = new Session(scene, 'phone')
  const tablet = new Session(scene, 'tablet')
  await scene.net.clock.advance(100)
  assert.equal(phone.got, ids.slice(3))
  assert.equal(tablet.got, ids)
  await scene.end()
})

test('goes on after the store failed for a moment', async () => {
  const scene = await InboxScene.open('hiccup', { replicas: 0 })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(3))
  const { mailbox } = scene.home
  const { list } = mailbox
  Object.assign(mailbox, { list: async () => { throw new OpenIMError('STORE_IO', 'a bad moment') } })
  const session = new Session(scene)
  await scene.net.clock.advance(1_000)
  assert.equal(session.got, [])
  Object.assign(mailbox, { list })
  await scene.net.clock.advance(10_000)
  assert.equal(session.got, ids)
  await scene.end()
})

test('ends quietly with its session or the store, and leaves no timer', async () => {
  for (const code of ['SESSION_ENDED', 'STORE_CLOSED']) {
    const scene = await InboxScene.open(code, { replicas: 0 })
    await scene.open()
    await scene.receive(scene.inbox.envelopes(100))
    const session = new Session(scene)
    session.failures = [code]
    await scene.net.clock.advance(100)
    session.feed.wake(scene.inbox.box)
    await scene.net.clock.advance(60_000)
    assert.equal(session.got, [])
    assert.equal(scene.home.log.warnings, [])
    await scene.end()
  }
})

test('sends nothing after it was stopped', async () => {
  const scene = await InboxScene.open('stopped', { replicas: 0 })
  await scene.open()
  await scene.receive(scene.inbox.envelopes(200))
  const session = new Session(scene)
  session.isOpen = false
  await scene.net.clock.advance(10)
  session.feed.stop()
  session.release()
  session.feed.wake(scene.inbox.box)
  await scene.net.clock.advance(1_000)
  assert.is(session.frames.length, 1)
  await scene.end()
})

test.run()
