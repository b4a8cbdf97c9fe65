/**
 * The handlers behind the control socket, one a method, each with the shape its parameters must
 * have. They translate and nothing more: what a method means is said in `ClientApi` and `NodeStatus`.
 */
import { basename } from 'node:path'
import * as v from 'valibot'
import { hexDecode, wipe } from '../../crypto/bytes.ts'
import type { ClientApi, FileStatus, MessageStatus } from '../../protocol/client/api.ts'
import type { MessageId } from '../../protocol/ids.ts'
import type { Clock } from '../../protocol/ports.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { BackupSummary } from '../backup.ts'
import { openSink, openSource, sinkPlace } from '../disk-files.ts'
import type { BridgeControl, ControlledNode, ControlMethod, ParamsOf, ResultOf } from './control-protocol.ts'

export interface CallContext {
  readonly node: ControlledNode
  readonly clock: Clock
  readonly bridges: ReadonlyMap<string, BridgeControl>
  /** Aborts on `cancel` and when the connection ends. */
  readonly signal: AbortSignal
  /** Sends the node's events on this connection from now on. */
  follow(): void
}

interface Handler<M extends ControlMethod> {
  readonly params: v.GenericSchema<unknown, ParamsOf<M>>
  run(context: CallContext, params: ParamsOf<M>): Promise<ResultOf<M>>
}

function handler<M extends ControlMethod>(
  params: v.GenericSchema<unknown, unknown>,
  run: Handler<M>['run'],
): Handler<M> {
  // valibot writes an optional key as `?: T | undefined`; JSON cannot carry undefined.
  return { params: params as Handler<M>['params'], run }
}

/** Text from outside is bounded by the line; these are only shapes. */
const text = v.string()
const position = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const none = v.strictObject({})
const contactOnly = v.strictObject({ contact: text })
const messageId = v.pipe(text, v.regex(/^[0-9a-f]{32}$/))
const deviceId = messageId
const messageState = v.picklist(['queued', 'stored', 'delivered', 'read', 'failed'])
/** A day: longer waits are for `follow`. */
const timeoutMs = v.pipe(v.number(), v.minValue(0), v.maxValue(86_400_000))

export const controlMethods: { readonly [M in ControlMethod]: Handler<M> } = {
  status: handler<'status'>(none, ({ node }) => node.status()),
  peers: handler<'peers'>(none, async ({ node }) => node.peers()),
  doctor: handler<'doctor'>(
    v.strictObject({ contact: v.optional(text) }),
    ({ node }, p) => node.doctor(p.contact),
  ),
  ping: handler<'ping'>(v.strictObject({ target: text }), ({ node }, p) => node.ping(p.target)),

  backup: handler<'backup'>(
    v.strictObject({ path: text, passphrase: v.pipe(text, v.regex(/^(?:[0-9a-f]{2})+$/)), config: text }),
    ({ node }, p) => backUp(node, p),
  ),

  info: handler<'info'>(none, ({ node }) => node.client.info()),
  invite: handler<'invite'>(
    v.strictObject({ expiresInMs: v.optional(v.pipe(v.number(), v.minValue(1))) }),
    ({ node }, p) => node.client.invite(p),
  ),
  add: handler<'add'>(
    v.strictObject({ uri: text, name: v.optional(text) }),
    ({ node }, p) => node.client.add(p.uri, p.name === undefined ? {} : { name: p.name }),
  ),
  contacts: handler<'contacts'>(none, ({ node }) => node.client.contacts()),
  contact: handler<'contact'>(contactOnly, ({ node }, p) => node.client.contact(p.contact)),
  places: handler<'places'>(contactOnly, async ({ node }, p) => await node.client.places(p.contact) ?? null),
  rename: handler<'rename'>(
    v.strictObject({ contact: text, name: text }),
    ({ node }, p) => node.client.rename(p.contact, p.name),
  ),
  safetyNumber: handler<'safetyNumber'>(contactOnly, ({ node }, p) => node.client.safetyNumber(p.contact)),
  verify: handler<'verify'>(
    v.strictObject({ contact: text, compared: text }),
    ({ node }, p) => node.client.verify(p.contact, p.compared),
  ),
  markVerified: handler<'markVerified'>(contactOnly, ({ node }, p) => node.client.markVerified(p.contact)),
  unverify: handler<'unverify'>(contactOnly, ({ node }, p) => node.client.unverify(p.contact)),
  acceptChange: handler<'acceptChange'>(contactOnly, ({ node }, p) => node.client.acceptChange(p.contact)),
  acknowledgeAlarms: handler<'acknowledgeAlarms'>(none, async ({ node }) => {
    await node.client.acknowledgeAlarms()
    return null
  }),
  unreadable: handler<'unreadable'>(none, ({ node }) => node.client.unreadable()),
  remove: handler<'remove'>(contactOnly, async ({ node }, p) => {
    await node.client.remove(p.contact)
    return null
  }),

  devices: handler<'devices'>(none, ({ node }) => node.client.devices()),
  removeDevice: handler<'removeDevice'>(
    v.strictObject({ device: deviceId }),
    ({ node }, p) => node.client.removeDevice(p.device),
  ),
  openLink: handler<'openLink'>(none, ({ node }) => node.client.openLink()),
  confirmLink: handler<'confirmLink'>(v.strictObject({ isSame: v.boolean() }), async ({ node }, p) => {
    await node.client.confirmLink(p.isSame)
    return null
  }),
  closeLink: handler<'closeLink'>(none, async ({ node }) => {
    await node.client.closeLink()
    return null
  }),

  send: handler<'send'>(
    v.strictObject({ contact: text, text }),
    ({ node }, p) => node.client.send(p.contact, p.text),
  ),
  messageStatus: handler<'messageStatus'>(
    v.strictObject({ id: messageId }),
    async ({ node }, p) => await node.client.status(p.id) ?? null,
  ),
  sendFile: handler<'sendFile'>(
    v.strictObject({ contact: text, path: text, name: v.optional(text) }),
    ({ node }, p) => sendFile(node.client, p),
  ),
  files: handler<'files'>(none, ({ node }) => node.client.files.list()),
  file: handler<'file'>(v.strictObject({ id: messageId }), ({ node }, p) => node.client.files.status(p.id)),
  saveFile: handler<'saveFile'>(
    v.strictObject({ id: messageId, path: text, overwrite: v.optional(v.boolean()) }),
    ({ node }, p) => saveFile(node.client, p),
  ),
  cancelFile: handler<'cancelFile'>(
    v.strictObject({ id: messageId }),
    ({ node }, p) => node.client.files.cancel(p.id),
  ),
  waitFor: handler<'waitFor'>(v.strictObject({ id: messageId, state: messageState, timeoutMs }), waitFor),

  history: handler<'history'>(
    v.strictObject({
      after: v.optional(position),
      limit: v.optional(v.pipe(position, v.minValue(1), v.maxValue(1_000))),
      contact: v.optional(text),
      direction: v.optional(v.picklist(['in', 'out'])),
      reverse: v.optional(v.boolean()),
    }),
    ({ node }, p) => node.client.history(p),
  ),
  cursor: handler<'cursor'>(v.strictObject({ name: text }), ({ node }, p) => node.client.cursor(p.name)),
  setCursor: handler<'setCursor'>(v.strictObject({ name: text, position }), async ({ node }, p) => {
    await node.client.setCursor(p.name, p.position)
    return null
  }),
  markRead: handler<'markRead'>(v.strictObject({ contact: text, upTo: position }), async ({ node }, p) => {
    await node.client.markRead(p.contact, p.upTo)
    return null
  }),
  bridge: handler<'bridge'>(
    v.strictObject({ bridge: text, action: text, params: v.unknown() }),
    ({ bridges }, p) => {
      const bridge = bridges.get(p.bridge)
      if (bridge !== undefined) return bridge.call(p.action, p.params)
      throw new OpenIMError(
        'BRIDGE_OFF', `${p.bridge} is not configured on this node; see [${p.bridge}] in config.toml`,
      )
    },
  ),

  follow: handler<'follow'>(none, async ({ follow }) => {
    follow()
    return null
  }),
}

async function backUp(node: ControlledNode, params: ParamsOf<'backup'>): Promise<BackupSummary> {
  const passphrase = hexDecode(params.passphrase)
  try {
    return await node.backup({ ...params, passphrase })
  } finally {
    wipe(passphrase)
  }
}

async function sendFile(client: ClientApi, params: ParamsOf<'sendFile'>): Promise<FileStatus> {
  const { contact, path, name } = params
  const source = await openSource(path)
  try {
    const { status } = await client.files.send(contact, source, { name: name ?? basename(path), ref: path })
    return status
  } catch (error) {
    await source.close()
    throw error
  }
}

async function saveFile(client: ClientApi, params: ParamsOf<'saveFile'>): Promise<FileStatus> {
  const { id, path, overwrite = false } = params
  const { size } = await client.files.status(id)
  const { sink, ref } = await openSink(sinkPlace(path, { id, overwrite }), size)
  try {
    return (await client.files.save(id, sink, { ref })).status
  } catch (error) {
    await sink.discard()
    throw error
  }
}

/** Answers with the state it has when the time is over: the caller compares. */
async function waitFor(context: CallContext, params: ParamsOf<'waitFor'>): Promise<MessageStatus> {
  const { node, clock, signal } = context
  if (await node.client.status(params.id) === undefined) throw unknownMessage(params.id)
  const over = new AbortController()
  const timer = clock.after(params.timeoutMs, () => over.abort())
  try {
    return await node.client.waitFor(params.id, params.state, AbortSignal.any([signal, over.signal]))
  } finally {
    timer.cancel()
  }
}

function unknownMessage(id: MessageId): OpenIMError {
  return new OpenIMError('MESSAGE_UNKNOWN', `there is no message ${id}`)
}
