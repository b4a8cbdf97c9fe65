/**
 * Where things are: `--data DIR`, else `OPENIM_DATA`, else the XDG directories. A directory that
 * was named holds its own `config.toml`, so that two nodes on one machine share nothing.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { dataFiles } from '../node/data-dir.ts'
import type { Environment } from './environment.ts'

export interface Paths {
  readonly dataDir: string
  readonly configFile: string
}

/** @param data what `--data` says */
export function findPaths(data: string | undefined, env: Environment): Paths {
  const named = data ?? (env['OPENIM_DATA'] || undefined)
  if (named !== undefined) {
    const dataDir = resolve(named)
    return { dataDir, configFile: join(dataDir, dataFiles.config) }
  }
  return {
    dataDir: join(xdg(env['XDG_DATA_HOME'], '.local/share'), 'openim'),
    configFile: join(xdg(env['XDG_CONFIG_HOME'], '.config'), 'openim', dataFiles.config),
  }
}

/** A relative path in these variables is invalid and to be ignored (XDG Base Directory 0.8). */
function xdg(value: string | undefined, fallback: string): string {
  return value?.startsWith('/') ? value : join(homedir(), fallback)
}
