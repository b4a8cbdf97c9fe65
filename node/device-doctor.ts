/** The doctor of a linked device: what it can see itself, and whether its node answers (doctor.ts). */
import { errorCode } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { Random } from '../crypto/random.ts'
import type { Device } from '../protocol/client/api.ts'
import { standingProblem } from '../protocol/client/standing.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import { waysTo } from './connectors/door-address.ts'
import {
  checkCryptography, checkDataDir, checkDisk, checkRecords, checkStore, checkTrust, judged,
} from './doctor.ts'
import type { Home } from './home-file.ts'
import type { DamagedRecord } from './node-store.ts'
import type { DeviceStatus, DoctorCheck, DoctorReport } from './status.ts'

const dialTimeoutMs = 5_000
const dayMs = 86_400_000

export interface DeviceDoctorComponents {
  readonly dataDir: string
  readonly home: Home
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly status: () => Promise<DeviceStatus>
  readonly damaged: () => Promise<readonly DamagedRecord[]>
  readonly devices: () => Promise<readonly Device[]>
}

export async function examineDevice(components: DeviceDoctorComponents): Promise<DoctorReport> {
  const { dataDir, kv, clock } = components
  const status = await components.status()
  const checks = [
    await checkDataDir(dataDir),
    await checkDisk(dataDir),
    await checkStore(kv),
    checkRecords(await components.damaged()),
    ...checkCryptography(crypto.fallbacks),
    checkClock(await components.devices(), clock.now()),
    ...await Promise.all(components.home.addresses.map((address) => checkAddress(components, address))),
    checkSession(status),
    checkTrust(status),
  ]
  // One way home is enough.
  const isHome = checks.some(({ name, ok }) => ok && name.startsWith(addressPrefix))
  const judgedChecks = checks.map((check) =>
    (isHome && !check.ok && check.name.startsWith(addressPrefix) ? spared(check) : check))
  return { ok: judgedChecks.every((check) => check.ok), checks: judgedChecks }
}

const addressPrefix = 'node at '

function spared({ name, detail }: DoctorCheck): DoctorCheck {
  return { name, ok: true, detail: `${detail}; another address does` }
}

/** The hours in the signed device list are the only times here that somebody else wrote. */
function checkClock(devices: readonly Device[], nowMs: number): DoctorCheck {
  const newestMs = Math.max(0, ...devices.map(({ addedAtMs }) => addedAtMs))
  return judged({
    name: 'clock',
    ok: nowMs >= newestMs - dayMs,
    detail: `${new Date(nowMs).toISOString()}, devices were added up to ${new Date(newestMs).toISOString()}`,
    cure: 'set the clock of this machine: messages expire by it',
  })
}

/** As a stranger, as far as the handshake: that proves the node, and disturbs no session. */
async function checkAddress(components: DeviceDoctorComponents, address: string): Promise<DoctorCheck> {
  const { clock, random, home } = components
  const name = addressPrefix + address
  const cure = 'is the node on, and is this still its address? Correct home.json, then start again'
  const begunMs = clock.monotonicMs()
  const over = new AbortController()
  const timer = clock.after(dialTimeoutMs, () => over.abort())
  try {
    const own = crypto.dhKeyPair(random.bytes(32))
    const [way] = waysTo([address], components, { doorKey: home.doorKey, own })
    const link = await way!.dialer.dial(over.signal)
    link.close('LINK_NOT_NEEDED')
    return { name, ok: true, detail: `answers in ${Math.round(clock.monotonicMs() - begunMs)} ms` }
  } catch (error) {
    return { name, ok: false, detail: `does not answer (${errorCode(error) ?? 'unknown'})`, cure }
  } finally {
    timer.cancel()
  }
}

function checkSession({ standing, online, home, queue }: DeviceStatus): DoctorCheck {
  const problem = standingProblem(standing)
  if (problem !== undefined) {
    const cure = 'what is here can still be read; to go on, link anew into a new directory: openim join'
    return { name: 'account', ok: false, detail: `${problem.message} (${problem.code})`, cure }
  }
  const why = home.code === undefined ? '' : ` (${home.code})`
  return judged({
    name: 'account',
    ok: online,
    detail: online ? `logged in; ${queue.out} messages on their way` : `not logged in at its node${why}`,
    cure: 'see the addresses above; what you send waits here until it is',
  })
}
