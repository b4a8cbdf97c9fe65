/** A clock that jumps must not delete what is alive: at the service that purges, on real stores. */
import * as assert from 'uvu/assert'
import type { Clock } from '../../../protocol/ports.ts'
import { PurgeClock } from '../../../node/messenger/purge-clock.ts'
import { ReplicaService } from '../../../node/messenger/replica-service.ts'
import type { MailboxItem, Store } from '../../../node/ports.ts'
import { MemoryStore } from '../../../node/storage/memory-store.ts'
import { boxNamed, idsIn, itemOf } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { inDirectory, openStore } from '../storage/level-fixture.ts'

const test = suite('node/messenger/purge-clock')
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const tenYearsMs = 3_652 * dayMs

/** A virtual clock whose wall may be set. */
function settable(clock: VirtualClock): Clock & { offsetMs: number } {
  return {
    offsetMs: 0,
    now() { return clock.now() + this.offsetMs },
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
  }
}

function parts() {
  const virtual = new VirtualClock()
  const clock = settable(virtual)
  const { kv: ownKv } = new MemoryStore({ clock })
  return { virtual, clock, ownKv }
}

test('believes the clock while it goes with the time, however long a look takes to come', async () => {
  const { virtual, clock, ownKv } = parts()
  const purge = new PurgeClock({ clock, ownKv })
  assert.is(await purge.look(), undefined, 'nothing was ever seen')
  for (const afterMs of [0, hourMs, 30 * dayMs]) {
    await virtual.advance(afterMs)
    assert.is(await purge.look(), clock.now())
  }
})

test('believes a jump forward when it is seen twice, and a jump back at once', async () => {
  const { virtual, clock, ownKv } = parts()
  const purge = new PurgeClock({ clock, ownKv })
  await purge.look()
  for (const jumpMs of [dayMs, tenYearsMs]) {
    const beforeMs = clock.now()
    clock.offsetMs += jumpMs
    assert.is(await purge.look(), beforeMs + hourMs)
    await virtual.advance(hourMs)
    assert.is(await purge.look(), clock.now())
    clock.offsetMs -= jumpMs
    assert.is(await purge.look(), clock.now())
  }
  clock.offsetMs -= dayMs
  assert.is(await purge.look(), clock.now())
})

test('remembers over a restart what it saw', async () => {
  const { clock, ownKv } = parts()
  await new PurgeClock({ clock, ownKv }).look()
  const beforeMs = clock.now()
  clock.offsetMs = tenYearsMs
  assert.is(await new PurgeClock({ clock, ownKv }).look(), beforeMs + hourMs)
  assert.is(await new PurgeClock({ clock, ownKv }).look(), clock.now())
})

/** A day's mail and a lapsing lease's worth of boxes through jumps of a day and of ten years. */
async function livesThroughJumps(store: Store, clock: ReturnType<typeof settable>): Promise<void> {
  const net = new RoomNetwork('jumps')
  const peer = await net.peer()
  const { mailbox, pieces, kv } = store
  const own = { store, mailbox, pieces, kv, ownKv: kv, clock }
  const box = boxNamed('inbox')
  const service = new ReplicaService({ ...peer.parts, ...own }, {
    lends: true, lentBytesMax: 1_000_000, isFriend: () => false, homeKind: () => undefined, onMail() {},
    onMoved() {},
  })
  await service.start()
  const endMs = clock.now() + 14 * dayMs
  await mailbox.setBox(box, { itemsMax: 100, bytesMax: 1e6, expiresAtMs: clock.now() + 30 * dayMs })
  const mail: MailboxItem[] = [0, 1, 2].map((number) => itemOf({ box, number, expiresAtMs: endMs }))
  await mailbox.put(mail)
  await kv.write([{ type: 'put', key: 'k', value: new Uint8Array(1), expiresAtMs: endMs }])
  for (const jumpMs of [dayMs, -dayMs, tenYearsMs, -tenYearsMs]) {
    clock.offsetMs = jumpMs
    await service.upkeep()
    clock.offsetMs = 0
    await service.upkeep()
    assert.equal(await idsIn(store, box), mail.map(({ id }) => id), `after a jump of ${jumpMs} ms`)
    assert.ok(await kv.get('k'))
  }
  clock.offsetMs = 15 * dayMs
  await service.upkeep()
  await service.upkeep()
  assert.is((await mailbox.usage()).items, 0, 'in the end it goes')
  await store.close()
  await net.end()
}

test('deletes nothing that is alive when the clock jumps a day or ten years: memory', async () => {
  const { clock } = parts()
  await livesThroughJumps(new MemoryStore({ clock }), clock)
})

test('deletes nothing that is alive when the clock jumps a day or ten years: level', () =>
  inDirectory(async (directory) => {
    const { clock } = parts()
    await livesThroughJumps(await openStore({ directory, clock }), clock)
  }))

test.run()
