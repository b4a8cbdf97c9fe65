/**
 * Clients that die between any two steps (checklist.ts, 12 and 13): what left was durable before,
 * what was read is durable with its keys, and what comes again is dropped. Going back to a backup
 * is in test/protocol/client/repair.test.ts, a crash in every write of a first contact in storm.test.ts.
 */
import * as assert from 'uvu/assert'
import type { MessageId } from '../../../protocol/ids.ts'
import { Person, World } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('crypto/attacks/clients-crash', { timeoutMs: 60_000 })

const syncMs = 2

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).map((entry) => entry.text)
}

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

test('a client that dies as a message leaves never uses its place in the chain again', async () => {
  const world = new World('durable before send')
  const alice = new Person(world, 'Alice')
  world.people.push(alice)
  let isArmed = false
  const { connect } = alice.node
  alice.node.connect = (listener, device) => {
    const session = connect(listener, device)
    const send = session.send.bind(session)
    session.send = async (frame) => {
      if (!isArmed || frame.type !== 'submit') return await send(frame)
      isArmed = false
      // It is on the wire, and the process is gone.
      alice.node.handle(frame, device)
      alice.crash()
    }
    return session
  }
  await world.run(alice.begin())
  const bob = await world.person('Bob')
  await world.meet(alice, bob)
  const expected: string[] = []
  for (let i = 0; i < 6; i++) {
    expected.push(`${i} leaves`, `${i} after`)
    isArmed = true
    void alice.client.send('Bob', `${i} leaves`).catch(() => undefined)
    await world.until(() => !alice.isAlive)
    await world.run(alice.recover())
    await world.run(alice.client.send('Bob', `${i} after`))
    // Bob answers now and then, so that the chain sometimes goes on and sometimes begins.
    if (i % 2 === 1) await world.run(bob.client.send('Alice', 'turn'))
    await world.clock.advance(2_000)
  }
  await world.until(async () => (await texts(bob)).length >= expected.length)
  assert.equal(await texts(bob), expected)
  assert.equal(undecryptable(bob), [])
  await world.end()
})

for (const isDurable of [false, true]) {
  const moment = isDurable ? 'before it acknowledges what is durable' : 'in the middle of a batch'
  test(`a client that dies ${moment} reads everything once`, async () => {
    for (let at = 1; ; at++) {
      const world = new World(`dies at ${at}, ${isDurable}`)
      const [alice, bob] = await world.pair()
      await world.clock.advance(3_000)
      let writes = 0
      bob.beforeWrite = () => {
        if (++writes !== at) return
        if (isDurable) world.clock.after(syncMs, () => { if (bob.isAlive) bob.crash() })
        else queueMicrotask(() => bob.crash())
      }
      const ids: MessageId[] = []
      for (const text of ['one', 'two', 'three']) {
        ids.push((await world.run(alice.client.send('Bob', text))).id)
        await world.clock.advance(300)
      }
      await world.clock.advance(1_000)
      const isOver = bob.isAlive
      if (!isOver) await world.run(bob.recover())
      await world.until(async () => (await alice.client.info()).outbox === 0)
      assert.equal(await texts(bob), ['one', 'two', 'three'], `write ${at}`)
      assert.equal(undecryptable(bob), [], `write ${at}`)
      for (const id of ids) assert.is((await alice.client.status(id))?.state, 'delivered')
      await world.end()
      if (isOver) break
    }
  })
}

test('the one-time prekeys of a first message go with the batch that stores its session', async () => {
  const world = new World('prekeys go')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const oneTime = async (): Promise<string[]> =>
    (await alice.store.kv.list({ prefix: 'prekey/once/' })).map(({ key }) => key)
  const before = await oneTime()
  const bob = await world.person('Bob')
  await world.meet(alice, bob)
  const after = new Set(await oneTime())
  assert.is(before.filter((key) => !after.has(key)).length, 1)
  await world.end()
})

test.run()
