/**
 * Attachments over whole nodes in virtual time: pieces, holders that die, lie or lose their lease,
 * crashes on both sides, cancelling, expiry.
 */
import * as assert from 'uvu/assert'
import type { FileState, FileStatus } from '../../protocol/client/api.ts'
import { limits } from '../../protocol/limits.ts'
import { content, TestDisk } from '../helpers/file-doubles.ts'
import { suite } from '../helpers/harness.ts'
import { World } from './world.ts'
import type { SimNode } from './world.ts'

const test = suite('simulation/files', { timeoutMs: 120_000 })
/** 12 pieces. */
const largeBytes = 2_800_000

interface Scene {
  readonly world: World
  readonly alice: SimNode
  readonly bob: SimNode
  readonly others: readonly SimNode[]
  readonly aliceDisk: TestDisk
  readonly bobDisk: TestDisk
}

/** Two people who know each other, and nodes that lend room. */
async function scene(seed: string, options: { lenders?: number } = {}): Promise<Scene> {
  const world = new World({ seed })
  const aliceDisk = new TestDisk()
  const bobDisk = new TestDisk()
  const others = Array.from({ length: options.lenders ?? 6 }, (_, i) =>
    world.add({ name: `lender ${i}`, account: false }))
  const alice = world.add({ name: 'alice', account: true, roles: [], files: aliceDisk })
  const bob = world.add({ name: 'bob', account: true, roles: [], files: bobDisk })
  for (const node of world.nodes) await world.run(node.start())
  await world.clock.advance(20_000)
  const { uri } = await world.run(alice.client.invite())
  await world.run(bob.client.add(uri))
  await world.eventually(async () => {
    const known = [...await alice.client.contacts(), ...await bob.client.contacts()]
    return known.length === 2 && known.every(({ state }) => state === 'active') ? true : undefined
  }, { withinMs: 120_000, what: 'they know each other' })
  return { world, alice, bob, others, aliceDisk, bobDisk }
}

async function send(scene: Scene, name: string, bytes: Uint8Array): Promise<FileStatus> {
  const { alice, aliceDisk, world } = scene
  aliceDisk.put(name, bytes)
  const source = await aliceDisk.source(name)
  return (await world.run(alice.client.files.send('bob', source, { name, ref: name }))).status
}

async function until(
  { world }: Scene,
  node: SimNode,
  wanted: { state: FileState, id?: string, withinMs?: number },
): Promise<FileStatus> {
  const { state, id, withinMs = 300_000 } = wanted
  return await world.eventually(async () => {
    if (!node.isRunning || !node.hasClient) return undefined
    const files = await node.client.files.list()
    return files.find((file) => file.state === state && (id === undefined || file.id === id))
  }, { withinMs, what: `a file of ${node.name} is ${state}` })
}

async function save(scene: Scene, id: FileStatus['id'], name: string): Promise<FileStatus> {
  const { bob, bobDisk, world } = scene
  const sink = await bobDisk.sink(name)
  return (await world.run(bob.client.files.save(id, sink, { ref: name }))).status
}

/** Nodes that hold pieces for alice. */
async function holders({ others }: Scene): Promise<SimNode[]> {
  const held = await Promise.all(others.map(async (node) =>
    node.isRunning && (await node.store.pieces.boxes()).some(({ bytes }) => bytes > 0)))
  return others.filter((_, i) => held[i])
}

test('a file reaches the contact byte for byte, from the holders when its sender is off', async () => {
  const play = await scene('files whole')
  const bytes = content('whole', largeBytes)
  const { id } = await send(play, 'photos.zip', bytes)
  const sent = await until(play, play.alice, { state: 'sent' })
  assert.is(sent.id, id)
  assert.is(sent.done, largeBytes)
  assert.ok(sent.stored!.have >= 3, `${sent.stored!.have} of ${sent.stored!.want}`)

  const offered = await until(play, play.bob, { state: 'offered' })
  assert.equal(
    { id: offered.id, name: offered.name, size: offered.size, direction: offered.direction },
    { id, name: 'photos.zip', size: largeBytes, direction: 'in' },
  )
  const [entry] = await play.world.run(play.bob.client.history({ direction: 'in' }))
  assert.is(entry!.file!.name, 'photos.zip')
  assert.is(entry!.file!.state, 'offered')

  await play.world.run(play.alice.stop())
  await save(play, id, 'here.zip')
  const saved = await until(play, play.bob, { state: 'saved' })
  assert.is(saved.savedAs, 'here.zip')
  assert.equal(play.bobDisk.files.get('here.zip'), bytes)
  await play.world.end()
})

test('every length comes through, and tells holders no more than its Padmé step', async () => {
  const play = await scene('files lengths')
  for (const length of [0, 1, 468, 469, 65_492, 65_493, 1_048_576, 1_048_577]) {
    const bytes = content(`length ${length}`, length)
    const { id } = await send(play, `of-${length}`, bytes)
    await until(play, play.alice, { state: 'sent', id })
    await until(play, play.bob, { state: 'offered', id })
    await save(play, id, `of-${length}`)
    await until(play, play.bob, { state: 'saved', id })
    assert.equal(play.bobDisk.files.get(`of-${length}`), bytes, `${length} bytes`)
  }
  await play.world.end()
})

test('where nobody lends, the own node holds it alone, and that is what is said', async () => {
  const play = await scene('files alone', { lenders: 0 })
  const bytes = content('alone', 300_000)
  const { id } = await send(play, 'alone', bytes)
  const sent = await until(play, play.alice, { state: 'sent' })
  assert.equal(sent.stored, { have: 0, want: 0 })
  await until(play, play.bob, { state: 'offered' })
  await save(play, id, 'alone')
  await until(play, play.bob, { state: 'saved' })
  assert.equal(play.bobDisk.files.get('alone'), bytes)
  await play.world.end()
})

test('texts written meanwhile do not wait for the file', async () => {
  const play = await scene('files and texts')
  await send(play, 'large', content('large', largeBytes))
  const text = await play.world.run(play.alice.client.send('bob', 'it is coming'))
  await play.world.run(play.alice.client.waitFor(text.id, 'delivered'))
  assert.is((await play.world.run(play.alice.client.files.list()))[0]!.state, 'sending')
  await until(play, play.bob, { state: 'offered' })
  const got = await play.world.run(play.bob.client.history({ direction: 'in' }))
  assert.equal(got.map(({ text: said, file, afterGap }) => [said, file?.name, afterGap]), [
    ['it is coming', undefined, undefined], ['', 'large', undefined],
  ])
  await play.world.end()
})

test('holders that die while a file is being sent are replaced, and it comes whole', async () => {
  const play = await scene('files dying holders', { lenders: 9 })
  const bytes = content('dying', largeBytes)
  const { id } = await send(play, 'dying', bytes)
  await play.world.eventually(async () => (await holders(play)).length >= 5 || undefined, {
    withinMs: 30_000, everyMs: 20, what: 'five nodes hold a part',
  })
  const doomed = (await holders(play)).slice(0, 3)
  for (const node of doomed) node.crash()
  const sent = await until(play, play.alice, { state: 'sent', withinMs: 600_000 })
  assert.ok(sent.stored!.have >= 3, 'three that live have all of it')
  await play.world.run(play.alice.stop())
  await until(play, play.bob, { state: 'offered', withinMs: 600_000 })
  await save(play, id, 'dying')
  await until(play, play.bob, { state: 'saved', withinMs: 600_000 })
  assert.equal(play.bobDisk.files.get('dying'), bytes)
  await play.world.end()
})

test('holders that die while a file is being fetched: the next one goes on with the rest', async () => {
  const play = await scene('files fetched')
  const bytes = content('fetched', largeBytes)
  const { id } = await send(play, 'fetched', bytes)
  await until(play, play.alice, { state: 'sent' })
  await until(play, play.bob, { state: 'offered' })
  await play.world.run(play.alice.stop())
  const all = await holders(play)
  await save(play, id, 'fetched')
  // All but one die, one after the other, as soon as a piece of theirs is here.
  for (const node of all.slice(0, -1)) {
    await play.world.clock.advance(150)
    node.crash()
  }
  await until(play, play.bob, { state: 'saved', withinMs: 600_000 })
  assert.equal(play.bobDisk.files.get('fetched'), bytes)
  assert.is(play.bobDisk.bytesWritten, largeBytes, 'each piece was written once')
  await play.world.end()
})

test('a holder that returns a flipped or another piece is refused, and the next one asked', async () => {
  const play = await scene('files hostile')
  const bytes = content('hostile', largeBytes)
  const { id } = await send(play, 'hostile', bytes)
  await until(play, play.alice, { state: 'sent' })
  await until(play, play.bob, { state: 'offered' })
  await play.world.run(play.alice.stop())
  const [honest, flips, swaps, repeats, ...more] = await holders(play)
  assert.ok(honest?.isRunning)
  let lies = 0
  for (const node of [flips!, swaps!, repeats!, ...more]) {
    const { list } = node.store.pieces
    Object.assign(node.store.pieces, {
      list: async (...args: Parameters<typeof list>) => {
        const [box, page] = args
        lies++
        if (node === repeats) return await list(box, { ...page, after: 0 })
        const found = await list(box, node === swaps ? { ...page, after: page.after + 1 } : page)
        if (node !== swaps) for (const { body } of found.entries) body[body.length - 200]! ^= 1
        return found
      },
    })
  }
  await save(play, id, 'hostile')
  await until(play, play.bob, { state: 'saved', withinMs: 600_000 })
  assert.equal(play.bobDisk.files.get('hostile'), bytes)
  assert.ok(lies > 0, 'somebody lied')
  assert.is(play.bobDisk.bytesWritten, largeBytes, 'nothing wrong was written')
  await play.world.end()
})

test('a sender that crashes in the middle goes on by itself, without putting anything twice', async () => {
  const play = await scene('files sender crash')
  const bytes = content('crash', largeBytes)
  const { id } = await send(play, 'crash', bytes)
  for (let crashes = 0; crashes < 3; crashes++) {
    await play.world.clock.advance(60 + 90 * crashes)
    play.alice.crash()
    await play.world.clock.advance(2_000)
    await play.world.run(play.alice.start())
  }
  await until(play, play.alice, { state: 'sent', id, withinMs: 600_000 })
  const boxes = await play.alice.store.pieces.boxes()
  assert.is(boxes.length, 1)
  assert.is(await play.alice.store.pieces.count(boxes[0]!.box), 12, 'each piece once')
  await until(play, play.bob, { state: 'offered', id })
  await save(play, id, 'crash')
  await until(play, play.bob, { state: 'saved', id })
  assert.equal(play.bobDisk.files.get('crash'), bytes)
  assert.is((await play.world.run(play.bob.client.history({ direction: 'in' }))).length, 1, 'told once')
  await play.world.end()
})

test('a file that changed while its sender was off is not sent', async () => {
  const play = await scene('files changed')
  const { id } = await send(play, 'changed', content('before', largeBytes))
  await play.world.clock.advance(100)
  play.alice.crash()
  play.aliceDisk.put('changed', content('after', largeBytes))
  await play.world.run(play.alice.start())
  const failed = await until(play, play.alice, { state: 'failed', id })
  assert.is(failed.code, 'FILE_CHANGED')
  await play.world.clock.advance(10_000)
  assert.equal(await play.world.run(play.bob.client.history({ direction: 'in' })), [])
  assert.equal(await play.alice.store.pieces.boxes(), [], 'nothing of it stays')
  await play.world.end()
})

test('a receiver that crashes in the middle goes on by itself with what it has', async () => {
  const play = await scene('files receiver crash')
  const length = 40 * 249_812
  const bytes = content('receiver', length)
  const { id } = await send(play, 'receiver', bytes)
  await until(play, play.bob, { state: 'offered', id })
  await save(play, id, 'receiver')
  await play.world.eventually(() => play.bobDisk.bytesWritten > length / 2 || undefined, {
    withinMs: 60_000, everyMs: 10, what: 'half of it is here',
  })
  play.bob.crash()
  await play.world.clock.advance(5_000)
  await play.world.run(play.bob.start())
  await until(play, play.bob, { state: 'saved', id })
  assert.equal(play.bobDisk.files.get('receiver'), bytes)
  const twice = play.bobDisk.bytesWritten - length
  assert.ok(twice <= limits.fileCheckpointBytes + 5 * 249_812, `${twice} bytes were fetched twice`)
  await play.world.end()
})

test('what is not what its sender said is not saved, and stays on offer', async () => {
  const play = await scene('files hash')
  const { id } = await send(play, 'hash', content('hash', 100_000))
  await until(play, play.bob, { state: 'offered', id })
  const sink = await play.bobDisk.sink('hash')
  const { read } = sink
  const turned = async (offset: number, length: number) => (await read(offset, length)).reverse()
  const broken = { ...sink, read: turned }
  const transfer = await play.world.run(play.bob.client.files.save(id, broken, { ref: 'hash' }))
  const code = await play.world.run(transfer.done.then(() => '', (error: { code: string }) => error.code))
  assert.is(code, 'FILE_HASH')
  const offered = await until(play, play.bob, { state: 'offered', id })
  assert.is(offered.code, 'FILE_HASH')
  assert.not.ok(play.bobDisk.files.has('hash') || play.bobDisk.parts.has('hash'), 'nothing is left')
  await play.world.end()
})

test('cancelled by its sender, nobody can fetch it any more', async () => {
  const play = await scene('files cancel')
  const { id } = await send(play, 'early', content('early', largeBytes))
  await play.world.clock.advance(60)
  assert.is((await play.world.run(play.alice.client.files.cancel(id))).state, 'cancelled')
  const late = await send(play, 'late', content('late', 300_000))
  await until(play, play.bob, { state: 'offered', id: late.id })
  assert.is((await play.world.run(play.alice.client.files.cancel(late.id))).state, 'cancelled')
  await play.world.clock.advance(5_000)
  assert.equal(await holders(play), [], 'the room is given back')
  await save(play, late.id, 'late')
  await play.world.eventually(async () =>
    (await play.bob.client.files.status(late.id)).code === 'FILE_GONE' || undefined,
  { withinMs: 120_000, what: 'it is known to be gone' })
  await play.world.end()
})

test('a fetch that is cancelled leaves nothing and can begin anew', async () => {
  const play = await scene('files cancel fetch')
  const bytes = content('again', largeBytes)
  const { id } = await send(play, 'again', bytes)
  await until(play, play.bob, { state: 'offered', id })
  await save(play, id, 'again')
  await play.world.clock.advance(150)
  assert.is((await play.world.run(play.bob.client.files.cancel(id))).state, 'offered')
  assert.not.ok(play.bobDisk.parts.has('again'))
  await save(play, id, 'again')
  await until(play, play.bob, { state: 'saved', id })
  assert.equal(play.bobDisk.files.get('again'), bytes)
  await play.world.end()
})

test('after 14 days it is gone everywhere, and said to be expired', async () => {
  const play = await scene('files expiry')
  const { id } = await send(play, 'old', content('old', 300_000))
  await until(play, play.bob, { state: 'offered', id })
  for (const node of play.world.nodes) await play.world.run(node.stop())
  await play.world.clock.advance(15 * 86_400_000)
  for (const node of play.world.nodes) await play.world.run(node.start())
  await play.world.clock.advance(5_000)
  assert.equal(await holders(play), [])
  assert.equal(await play.alice.store.pieces.boxes(), [])
  for (const node of [play.alice, play.bob]) {
    assert.is((await play.world.run(node.client.files.status(id))).state, 'expired')
  }
  const code = await save(play, id, 'old').then(() => '', (error: { code: string }) => error.code)
  assert.is(code, 'FILE_EXPIRED')
  await play.world.end()
})

test.run()
