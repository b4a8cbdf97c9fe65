/** The settings of a run: flags, then environment, then `config.toml`, then defaults. */
import { createServer } from 'node:net'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import {
  defaultP2pPort, environmentSettings, isHostPort, isListenMultiaddr, isMultiaddr, listenOnPort,
  mergeSettings, nodeConfig, parseConfig,
} from '../node/config.ts'
import type { LogLevel, NodeConfig, Profile, Settings } from '../node/config.ts'
import type { CommandContext } from './context.ts'
import { listOption, option } from './context.ts'
import { databaseFlags } from './database.ts'
import { readConfigText } from './identity.ts'

/** @param flags from `flagSettings` @throws CONFIG_*, DATA_DIR_* */
export async function loadConfig(context: CommandContext, flags: Settings): Promise<NodeConfig> {
  const { configFile } = context.paths
  const file = parseConfig(await readConfigText(configFile), configFile)
  const settings = mergeSettings(flags, environmentSettings(context.env), file)
  if (settings.listenP2p === undefined) settings.listenP2p = listenOnPort(await preferredPort(context))
  return nodeConfig(settings)
}

/** All that a linked device is set with. @throws CONFIG_*, DATA_DIR_* */
export async function loadLogLevel(context: CommandContext): Promise<LogLevel> {
  const { configFile } = context.paths
  const file = parseConfig(await readConfigText(configFile), configFile)
  const flags = { logLevel: option(context, 'logLevel') as LogLevel | undefined }
  const settings = mergeSettings(flags, environmentSettings(context.env), file)
  return nodeConfig(settings).log.level
}

/** Options of `start` that mean nothing to a linked device. */
export const nodeOptionNames = [
  'p2pListen', 'tcpListen', 'udpListen', 'wsListen', 'http2Listen', 'bootstrap', 'profile', 'firstRun',
  'db', 'dbPasswordFile', 'dbPassword',
]

/** What the command line says. @throws USAGE_ARGUMENT */
export function flagSettings(context: CommandContext): Settings {
  const listenP2p = listOption(context, 'p2pListen')
  const bootstrap = listOption(context, 'bootstrap')
  check('--p2p-listen', listenP2p ?? [], { fits: isListenMultiaddr, example: '/ip4/0.0.0.0/tcp/4481' })
  check('--bootstrap', bootstrap ?? [], { fits: isMultiaddr, example: '/ip4/203.0.113.9/tcp/4481' })
  return {
    listenP2p,
    listenTcp: door(context, 'tcp'),
    listenUdp: door(context, 'udp'),
    listenWs: door(context, 'ws'),
    listenHttp2: door(context, 'http2'),
    bootstrap,
    database: databaseFlags(context),
    profile: option(context, 'profile') as Profile | undefined,
    logLevel: option(context, 'logLevel') as LogLevel | undefined,
  }
}

/** Where a door for devices listens. @throws USAGE_ARGUMENT */
function door(context: CommandContext, name: string): string | undefined {
  const place = option(context, `${name}Listen`)
  const places = place === undefined ? [] : [place]
  check(`--${name}-listen`, places, { fits: isHostPort, example: '127.0.0.1:4482' })
  return place
}

interface Form {
  fits(text: string): boolean
  readonly example: string
}

function check(flag: string, values: readonly string[], form: Form): void {
  const wrong = values.find((value) => !form.fits(value))
  if (wrong === undefined) return
  throw new OpenIMError('USAGE_ARGUMENT', `${flag}: "${wrong}" is not of the form ${form.example}`)
}

/**
 * The usual port or, when something else has it, any free one: a second node on a machine should
 * simply start. A port that somebody asked for is never exchanged for another.
 */
async function preferredPort({ terminal }: CommandContext): Promise<number> {
  const probe = createServer()
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  probe.once('error', (error) => resolve(errorCode(error) ?? 'unknown'))
  probe.listen({ port: defaultP2pPort, host: '0.0.0.0', exclusive: true }, () => resolve(undefined))
  const problem = await promise
  if (problem === undefined) {
    await new Promise((done) => probe.close(done))
    return defaultP2pPort
  }
  terminal.say(`Port ${defaultP2pPort} is taken: listening on a free one`)
  return 0
}
