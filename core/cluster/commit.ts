import type { ClusterCondition, ClusterOperation } from '../contracts/cluster.js';
import { absent, type Compare, empty, present, put, remove, removeAll, type RequestOp, unchanged } from './etcd-wire.js';

export function compareOf(prefix: string, condition: ClusterCondition): Compare {
  if ('prefix' in condition) return empty(prefix + condition.prefix);
  const key = prefix + condition.key;
  if ('revision' in condition) return unchanged(key, condition.revision);
  return condition.is === 'absent' ? absent(key) : present(key);
}

export function requestOf(prefix: string, operation: ClusterOperation): RequestOp {
  switch (operation.op) {
    case 'put':
      return put(prefix + operation.key, operation.value);
    case 'delete':
      return remove(prefix + operation.key);
    case 'delete-prefix':
      return removeAll(prefix + operation.prefix);
  }
}
